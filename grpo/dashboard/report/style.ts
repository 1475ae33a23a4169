/** The look of a report: light or dark by the system, and black on white on paper. */

const colors = `
:root { color-scheme: light dark; --back: #fff; --ink: #1b1f27; --soft: #5a6270; --line: #dfe3e8; --kept: #c2560a; --kept-back: #fdeee1; --pruned: #a6adb8;
  --c1: #1f5fd0; --c2: #c2560a; --c3: #14805a; --c4: #8540b5; --c5: #b0306a; --c6: #5a6270; }
@media screen and (prefers-color-scheme: dark) { :root { --back: #14181e; --ink: #e6e9ee; --soft: #9aa4b2; --line: #2a303a; --kept: #ff9d4d; --kept-back: #35261a; --pruned: #5c6573;
  --c1: #7fb0ff; --c2: #ff9d4d; --c3: #57c79a; --c4: #c79bf0; --c5: #f58bb5; --c6: #9aa4b2; } }`;

const curves = `
svg text { fill: var(--soft); font-size: 11px; } .grid { stroke: var(--line); }
.line { fill: none; stroke: currentColor; stroke-width: 1.8; } .line.again { stroke-dasharray: 5 3; } .mark.again { border-top-style: dashed; } .band { fill: currentColor; opacity: .16; } .dot { fill: currentColor; }
.c1 { color: var(--c1); } .c2 { color: var(--c2); } .c3 { color: var(--c3); } .c4 { color: var(--c4); } .c5 { color: var(--c5); } .c6 { color: var(--c6); }`;

/** What a chart that is a file of its own needs. */
export const chartStyle = `${colors}${curves}`;

export const reportStyle = `${colors}
* { box-sizing: border-box; }
body { max-width: 1240px; margin: 0 auto; padding: 24px 20px 60px; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; overflow-wrap: anywhere; } h2 { font-size: 19px; margin: 36px 0 10px; } h3 { font-size: 14px; margin: 12px 0 4px; }
p { margin: 0 0 8px; } .soft { color: var(--soft); } .prompt { font-size: 17px; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 18px 4px 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; font-weight: 400; overflow-wrap: anywhere; } thead th { color: var(--soft); } tbody th { overflow-wrap: break-word; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); gap: 20px; }
figure { margin: 0; min-width: 0; break-inside: avoid; } figcaption { font-weight: 600; font-size: 14px; }
.legend { display: flex; flex-wrap: wrap; gap: 0 14px; margin: 0; padding: 0; list-style: none; font-size: 12.5px; }
.mark { display: inline-block; width: 14px; margin-right: 5px; border-top: 3px solid; vertical-align: middle; }
svg { display: block; width: 100%; height: auto; }
.samples { display: flex; flex-wrap: wrap; gap: 16px; } .samples figure { flex: 1 1 320px; } .samples img { max-width: 100%; height: auto; }
.tiles { display: flex; flex-wrap: wrap; gap: 4px; margin: 0; padding: 0; list-style: none; }
.tile { width: 64px; padding: 2px; border: 2px solid transparent; border-radius: 6px; text-align: center; } .tile.kept { border-color: var(--kept); background: var(--kept-back); }
.face { display: flex; align-items: end; aspect-ratio: 1; overflow: hidden; border-radius: 3px; image-rendering: pixelated; background-color: var(--line); }
.pruned .face { opacity: .42; } .level { width: 100%; background: var(--pruned); } .kept .level { background: var(--kept); } .value { font-size: 11px; font-variant-numeric: tabular-nums; } .pruned .value { color: var(--soft); }
pre { overflow-x: auto; padding: 12px; border: 1px solid var(--line); border-radius: 8px; font-size: 12.5px; }${curves}
@media print { .level, .tile, .band, .line, .face { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
`;
