// What the declarations mention and a project's `lib` may not have: without `@types/node`, "DOM" or "ESNext.Disposable"
// they still compile. If it is there, these merge with it and change nothing.
declare global {
  interface AbortSignal {}
  interface Request {}
  interface Response {}
  interface SymbolConstructor {
    readonly asyncDispose: unique symbol;
  }
}

export {};
