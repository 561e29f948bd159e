// Every time of the protocol that is no option, in ms. The scripts have them written in.

/** A waiter counts as alive this long beyond the time at which it means to ask again: some requests may be lost. */
export const lostRequestMargin = 2500;

/** A waiter that does not listen, and the first in the queue, asks at least this often. */
export const pollEvery = 1250;

/** The further back, the less often a waiter asks: this much longer for each place. */
export const pollLaterPerPlace = 250;

/** Even the last in a long queue asks this often. */
export const pollAtLeastEvery = 6250;

/** Another library's holder hands nothing over: behind it the first waiter asks this often. */
export const pollForeignEvery = 150;

/** A grant that nobody heard ends this much earlier. By then its waiter would have asked. */
export const unheardCut = 1500;

/** A grant lasts at least this long. */
export const shortestGrant = 500;

/** Work starts under a grant only while at least this much of it is left. */
export const minUsableGrant = 750;

/** A paused lock's state stays until it is taken back: 100 years. A script's number has 14 safe digits. */
export const pausedLife = 3_155_760_000_000;

/** Two that asked within this time of each other stand in the order in which they came. */
export const askedTogether = 5;

/** A fencing counter is forgotten once nobody has drawn from it for so long. */
export const fenceLife = 86_400_000;

/** A stream that opens this much later, for each who waits before us, may have missed a grant. */
export const fastestHandOver = 10;

/** What has to be told to a server that gives no answer is told again after so long. */
export const insistEvery = 100;

/** A waiter asks up to this share of the time earlier, so that a crowd does not ask at once. */
export const pollJitter = 0.2;

/** Marks of those whom an operator ended stay this long beyond his limit or pause: the longest lease. */
export const marksLife = 86_400_000;
