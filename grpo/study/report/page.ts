/** The report as one HTML file, from which nothing is fetched and in which nothing runs. */
import { lineChart } from '../../dashboard/report/charts.js';
import { Html, html, table } from '../../dashboard/report/html.js';
import { reportStyle } from '../../dashboard/report/style.js';
import { axisNames, type Findings } from '../findings.js';
import { clusteringCells, clusteringHead, linesOf, resultCells, resultHead, type StudyFindings } from './markdown.js';
import { claimCells, claimHead, method, summaryOf } from './text.js';

/** Tables of many short columns: words stay whole, and what is wider than the window is scrolled to. */
const wideTables = ' th, td { overflow-wrap: normal; } main { overflow-x: auto; }';

/** The file's text. */
export function pageOf({ trained, clustering, facts }: StudyFindings): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>The paper in miniature</title>
<style>${new Html(`${reportStyle}${wideTables}`)}</style>
</head>
<body>
<main>
<h1>The paper in miniature</h1>
${method.map((sentence) => html`<p>${sentence}</p>`)}
${table(
  ['', ''],
  facts.map((fact) => [...fact]),
)}
<h2>What held, and what did not</h2>
${summaryOf(trained.flatMap(({ claims }) => claims)).map(
  ({ head, sentences }) => html`<h3>${head}</h3>
<ul>${sentences.map((sentence) => html`<li>${sentence}</li>`)}</ul>`,
)}
${clustering.map(
  (found) => html`<h2>${found.experiment.title} (${found.experiment.paper})</h2>
<p>${found.experiment.about}</p>
${table(clusteringHead, clusteringCells(found))}`,
)}
${trained.map(experimentHtml)}
</main>
</body>
</html>
`.text;
}

function experimentHtml(found: Findings): Html {
  const { experiment, claims, figures } = found;
  const charts = figures.flatMap(
    ({ figure, curves }) => lineChart(figure.title, linesOf(figure, curves), { over: axisNames[figure.over] }) ?? [],
  );
  return html`<h2>${experiment.title} (${experiment.paper})</h2>
<p>${experiment.about}</p>
${table(resultHead(found), resultCells(found))}
${claims.length > 0 ? html`<h3>Claims</h3>${table(claimHead, claims.map(claimCells))}` : undefined}
<div class="charts">${charts}</div>`;
}
