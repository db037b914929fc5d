// The public API.

export { type ErrorCode, GleanerError } from './common/errors.js';
export type { Log } from './common/log.js';
export type { TemplateName } from './data/chat/template.js';
export { type ReadOptions, readRows } from './data/readers.js';
export type { Message, PreferenceRow, Row } from './data/rows.js';
export type { IdRow, RowSource, TokenSource } from './data/stream/row_source.js';
export type { TextStream } from './data/tokenizer/text_stream.js';
export { Tokenizer } from './data/tokenizer/tokenizer.js';
export type { TemplateSource } from './data/tokenizer/tokenizer_json.js';
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
  TokenEvent,
  TokenIds,
  TokenRow,
  Trainer,
  UpdateBatch,
  UpdateResult,
} from './engine/types.js';
export type { IrftOptions } from './methods/irft.js';
export type {
  ChosenMethod,
  Context,
  EvaluationSettings,
  FittedPair,
  Generation,
  GenerationSettings,
  Method,
  Metrics,
  PlannedRound,
  RoundPair,
  RoundRows,
  RoundStore,
  RunOutput,
  TrainSettings,
} from './methods/method.js';
export { defineMethod } from './methods/method.js';
export type { ScheduleName, ScheduleSettings } from './methods/schedule.js';
export type { SpinOptions } from './methods/spin.js';
export type { RunState } from './methods/state.js';
export type { DecoderSpec, ModelDescription, ParameterLayout, ParameterSlice } from './models/spec.js';
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
export type { Answer, Interruption, RunOptions, RunResult, SamplingProgress } from './recipe/run_options.js';
export { defineRecipe, type Recipe, type RecipeInput } from './recipe/schema.js';
export { type ReportOptions, writeReport } from './report/report.js';
export type { ReportState, RunSummary, TimeShare } from './report/summary.js';
