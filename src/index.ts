// The public API.

export { type ErrorCode, GleanerError } from './common/errors.js';
export type { Log } from './common/log.js';
export { type ReadOptions, readRows } from './data/readers.js';
export type { Message, Row } from './data/rows.js';
export { Tokenizer } from './data/tokenizer.js';
export { Engine, type EngineInfo, type EngineOptions, engineInfo, type TrainingOptions } from './engine/engine.js';
export type {
  CustomObjective,
  FinishReason,
  GeneratedRow,
  GenerateOptions,
  GeneratePrompt,
  MemoryPlan,
  OptimizerSettings,
  PairLoss,
  PairRow,
  PlanSettings,
  ScoredRow,
  StepSettings,
  TokenIds,
  TokenRow,
  Trainer,
  UpdateBatch,
  UpdateResult,
} from './engine/types.js';
export type { Context, Generation, Method, Metrics, PlannedRound, RunOutput } from './methods/method.js';
export { defineMethod } from './methods/method.js';
export { type DryRun, dryRun } from './recipe/dry_run.js';
export {
  type GeneratedText,
  LanguageModel,
  loadModel,
  type ModelOptions,
  type SamplingOptions,
  type ScoredText,
} from './recipe/language_model.js';
export type { DataSizes, RunPlan } from './recipe/plan.js';
export { parseRecipe, readRecipe } from './recipe/read.js';
export { run } from './recipe/run.js';
export type { Answer, Interruption, RunOptions, RunResult } from './recipe/run_options.js';
export { defineRecipe, type Recipe, type RecipeInput } from './recipe/schema.js';
export { type ReportOptions, writeReport } from './report/report.js';
