declare module "luamin" {
  const luamin: { minify(lua: string): string };
  export default luamin;
}
