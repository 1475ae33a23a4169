/** The paper in miniature: experiments, their runs, what was found. */
export { experiments } from './experiments/index.js';
export { runStudy, type StudyEvent, type StudyOptions } from './study.js';
