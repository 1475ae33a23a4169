/** Rating pictures two by two on a page, and training by what was liked. */

export type { Lesson, LessonStatus } from './lessons.js';
export { type RatingServer, type RatingServerOptions, startRating, usualPort } from './server.js';
export type { RatingState } from './state.js';
export type { ShownTaste, TasteFitting } from './taste.js';
