/** winnow as a library: load a model, draw with it, train it by rewards, judge and save what it has learned. */

export { type AdapterInfo, NoAdapterError } from '../../engine/driver/adapter.js';
export { CheckError, EnvironmentError, FileError, OutOfMemoryError } from '../../engine/errors.js';
export { Device } from '../../engine/index.js';
export { type EmbeddedModel, embeddedFolder, embeddedModels } from '../../models/embedded/index.js';
export { ModelFileError } from '../../models/files/errors.js';
export type { Picture } from '../../models/pictures/png.js';
export { loadPipeline, type Pipeline } from '../../models/pipeline/pipeline.js';
export { CheckpointError } from '../checkpoint.js';
export type { RewardConfig, RunConfig } from '../config.js';
export type { Estimate, Evaluation } from '../evaluate.js';
export type { Prompt } from '../model.js';
export type { RewardFunction } from '../rewards/module.js';
export { RewardError, type RewardImage, type Scores } from '../rewards/reward.js';
export { DivergedError } from '../trainer.js';
export { loadConfig, presetNames } from './config/file.js';
export { commentedConfig, configTable, formatConfig, jsonSchema } from './config/format.js';
export { type DeviceChoice, openDevice, type Tuning, tune } from './device.js';
export { type DoctorReport, diagnose } from './doctor.js';
export { InterruptedError, UsageError } from './errors.js';
export { exitCodeOf, exitCodes } from './exit_codes.js';
export { type ExportOptions, exportRun } from './export/export.js';
export { type Inspection, type InspectOptions, inspectGroup } from './inspect.js';
export { type Judgement, type JudgeOptions, judge } from './judge.js';
export { type GivenEmbeds, loadModel, type Model, type ModelOptions, type SampleOptions } from './model.js';
export type { SampledPicture } from './picture.js';
export { type PlanOptions, type PlanReport, plan } from './plan/plan.js';
export { type PretrainOptions, pretrain, pretrainable } from './pretrain/pretrain.js';
export { rewardNames } from './rewards/registry.js';
export type * from './run/events.js';
export type { RunInfo } from './run/info.js';
export { findRun, type ListedRun, listRuns } from './run/list.js';
export type { RewardSummary, UpdateRecord } from './run/metrics.js';
export { type RunConfigOptions, runConfig } from './run/run_config.js';
export { type Agreement, type AgreementReport, agreementText, doubtOf, growthText } from './taste/agreement.js';
export { type FeatureReader, type Features, openFeatures } from './taste/features.js';
export { loadTaste, readTaste, writeTaste } from './taste/folder.js';
export { type Candidate, nextPair } from './taste/next_pair.js';
export { type RefitOptions, refitTaste } from './taste/refit.js';
export { type TasteTraining, type TasteTrainingOptions, tasteTraining } from './taste/reward.js';
export { type FitOptions, fitTaste, type Taste, type TasteFacts } from './taste/taste.js';
export {
  appendVote,
  newVoteId,
  pictureFile,
  pictureHash,
  readVotes,
  undoVote,
  type Vote,
  type VotedPicture,
  type Votes,
} from './taste/votes.js';
export { type GivenPrompts, type GivenReward, type TrainOptions, train } from './train.js';
export type { WorkerRecord, WorkersFile } from './workers/workers_file.js';
