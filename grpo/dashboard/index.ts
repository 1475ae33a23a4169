/** Looking at runs: the dashboard, and reports to hand on. */

export { writeReport } from './report/report.js';
export { type Action, actions, type LiveRun } from './server/routes.js';
export { type Dashboard, type DashboardOptions, startDashboard, usualPort } from './server/server.js';
