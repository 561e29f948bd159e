/** What the page looks like, in light and in dark. */
export const style = `
:root { color-scheme: light dark; --text: #1b1f24; --soft: #57606a; --ground: #ffffff; --panel: #f6f8fa; --line: #d0d7de;
  --held: #9a6700; --free: #1a7f37; --foreign: #cf222e; --bar: #0969da; --kept: #57606a; }
@media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --soft: #9da7b3; --ground: #0d1117; --panel: #161b22;
  --line: #30363d; --held: #e3b341; --free: #56d364; --foreign: #ff7b72; --bar: #58a6ff; --kept: #9da7b3; } }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.45 system-ui, sans-serif; color: var(--text); background: var(--ground); }
header { display: flex; flex-wrap: wrap; gap: .5rem 1.25rem; align-items: center; padding: .75rem 1rem;
  border-bottom: 1px solid var(--line); background: var(--panel); }
h1 { font-size: 1.15rem; margin: 0; } h2 { font-size: 1.1rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h3 { font-size: .95rem; margin: 1rem 0 .25rem; }
input, button { font: inherit; color: inherit; background: var(--ground); border: 1px solid var(--line); border-radius: 6px;
  padding: .3rem .6rem; }
button { cursor: pointer; } button:hover { border-color: var(--bar); }
:focus-visible { outline: 2px solid var(--bar); outline-offset: 1px; }
#status { color: var(--soft); margin-left: auto; }
main { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 1rem; padding: 1rem; align-items: start; }
@media (max-width: 60rem) { main { grid-template-columns: minmax(0, 1fr); } }
table { width: 100%; border-collapse: collapse; } th { text-align: left; color: var(--soft); font-weight: 600; }
th, td { padding: .3rem .5rem; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
#locks { overflow: auto; max-height: calc(100vh - 6rem); } #locks table { table-layout: fixed; }
#locks tr { height: 2.3rem; } tr[aria-current="true"] { background: var(--panel); }
#locks td button { border: 0; padding: 0; background: none; text-align: left; color: var(--bar); overflow-wrap: anywhere; }
td.number { font-variant-numeric: tabular-nums; }
.held { color: var(--held); } .free { color: var(--free); } .foreign { color: var(--foreign); } .kept { color: var(--kept); }
.lease { height: .5rem; background: var(--line); border-radius: 3px; overflow: hidden; }
.lease div { height: 100%; background: var(--bar); transform-origin: left; }
aside { position: sticky; top: 1rem; border: 1px solid var(--line); border-radius: 8px; padding: 1rem; background: var(--panel); }
.actions { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; } #limit { width: 6rem; }
svg { width: 100%; height: 150px; border: 1px solid var(--line); border-radius: 6px; background: var(--ground); display: block; }
svg .holder { fill: var(--bar); } svg .holder.keeps { fill: var(--kept); } svg .waiting { fill: var(--held); opacity: .55; }
svg text { fill: var(--text); font-size: 11px; }
ol { margin: 0; padding-left: 1.5rem; max-height: 14rem; overflow: auto; }
#told { min-height: 1.4em; margin: .5rem 0 0; } .soft { color: var(--soft); }
dialog { color: inherit; background: var(--ground); border: 1px solid var(--line); border-radius: 8px; max-width: 32rem; }
dialog::backdrop { background: rgb(0 0 0 / .45); }
dialog form { display: flex; gap: .5rem; justify-content: flex-end; margin-top: 1rem; }
`;
