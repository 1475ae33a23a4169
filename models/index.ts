/** Networks in diffusers' and transformers' folders, and what belongs to them. */

export { loadPipeline, type Pipeline } from './pipeline/pipeline.js';
