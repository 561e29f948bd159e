/** The leases that are asked for, in ms: short, so that a storm sees many end. */
export const shortestTtl = 1500;
export const longestTtl = 3000;
