/** Lua as it is written: a backslash is Lua's own. */
export const lua = String.raw;
