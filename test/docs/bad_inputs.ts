// What goes wrong in daily use, as commands that are run: docs/troubleshooting.md is written from what they print. Each case names the files
// that it needs; all of them lie in one folder, which starts with a small model and good data.

import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { temporaryFolder } from '../support/tiny_run.js';

const example = fileURLToPath(new URL('../../examples/quickstart', import.meta.url));

/** A recipe that runs in a second; `more` are keys of its own. */
export function recipe(more = ''): string {
  return `method: sft
model: model
threads: 1
data: { train: rows.jsonl, max_length: 96, max_prompt_length: 64 }
train: { max_steps: 2 }
${more}`;
}

/** The recipe with other rows. */
const withRows = (name: string, file: string, text: string | Buffer) => ({
  [`${name}.yaml`]: recipe(`output: runs/${name}\n`).replace('rows.jsonl', file),
  [file]: text,
});

const ROW = { prompt: 'Shelf: 3 peas.\nVera takes 1. How many peas now?\nDesk:', response: ' 2 peas now.' };
const row = (values: object) => `${JSON.stringify({ ...ROW, ...values })}\n`;
const lines = (...rows: readonly object[]) => rows.map((value) => `${JSON.stringify(value)}\n`).join('');

type Files = Record<string, string | Buffer>;

export interface BadInput {
  /** What is wrong, in the reader's words. */
  what: string;
  args: readonly string[];
  files?: Files;
  /** Folders that hold a copy of the model, then `files`, then lose `removed`. */
  model?: string;
  removed?: readonly string[];
  /** Run before, without a mistake. */
  before?: readonly string[];
  /** The folder may not be written into. */
  readonly?: string;
}

const read = (path: string) => readFileSync(join(example, 'base/1', path));
const config = (change: object): string =>
  JSON.stringify({ ...JSON.parse(read('config.json').toString('utf8')), ...change });
const ask = (model: string, ...more: string[]) => ['generate', '--model', model, '--prompt', 'Hi', ...more];
const score = (data: string, ...more: string[]) => ['score', '--model', 'model', '--data', data, ...more];
const toImport = (file: string, out: string, ...more: string[]) => [
  ...['data', 'import', file, '--tokenizer', 'model', '--workers', '1', '--out', out],
  ...more,
];

export const sections: Record<string, readonly BadInput[]> = {
  'The command line': [
    { what: 'a command that does not exist', args: ['trian', 'recipe.yaml'] },
    { what: 'an option that does not exist', args: ['train', 'recipe.yaml', '--dryrun'] },
    { what: 'a missing argument', args: ['train'] },
    { what: 'a missing option', args: ['generate', '--prompt', 'Hi'] },
    { what: 'neither of two options', args: ['generate', '--model', 'model'] },
    { what: 'both of two options', args: ask('model', '--data', 'rows.jsonl') },
    { what: 'a number that is no number', args: ask('model', '--temperature', 'warm') },
    { what: 'an infinite number', args: ask('model', '--temperature', 'Infinity') },
    { what: 'a number out of range', args: ask('model', '--top-p', '0') },
    { what: 'too many threads', args: ask('model', '--threads', '100000') },
    { what: 'no new token', args: ask('model', '--max-new-tokens', '0') },
    { what: 'a template that is not known', args: ask('model', '--template', 'alpaca') },
    { what: 'an empty stop text', args: ask('model', '--stop', '') },
    { what: 'a shell that is not known', args: ['completion', 'tcsh'] },
    { what: 'more new tokens than the model has positions', args: ask('model', '--max-new-tokens', '500') },
  ],
  'The recipe': [
    { what: 'no such file', args: ['train', 'recpie.yaml'] },
    { what: 'a folder in place of the file', args: ['train', 'model'] },
    { what: 'broken YAML', args: ['train', 'broken.yaml'], files: { 'broken.yaml': 'method: [sft\nmodel: model\n' } },
    { what: 'a list in place of keys', args: ['train', 'list.yaml'], files: { 'list.yaml': '- method: sft\n' } },
    {
      what: 'a key that is not known',
      args: ['train', 'key.yaml'],
      files: { 'key.yaml': 'method: sft\nmodel: model\ndata: { train: rows.jsonl }\ntrain:\n  batchsize: 4\n' },
    },
    {
      what: 'a missing key',
      args: ['train', 'missing.yaml'],
      files: { 'missing.yaml': 'method: sft\nmodel: model\n' },
    },
    { what: 'text where a number belongs', args: ['train', 'recipe.yaml', '--set', 'train.epochs=two'] },
    { what: 'a number out of range', args: ['train', 'recipe.yaml', '--set', 'irft.beta=-1'] },
    { what: 'a word that is not a choice', args: ['train', 'recipe.yaml', '--set', 'irft.loss=squared'] },
    { what: 'a key in the wrong section', args: ['train', 'recipe.yaml', '--set', 'train.learning_rate=1e-5'] },
    { what: '--set without a value', args: ['train', 'recipe.yaml', '--set', 'seed'] },
    { what: '--set with an unknown key', args: ['train', 'recipe.yaml', '--set', 'train.lr=1e-5'] },
    { what: '--set with a value that is not YAML', args: ['train', 'recipe.yaml', '--set', 'data.train=[a.jsonl'] },
    {
      what: 'max_length beyond the positions of the model',
      args: ['train', 'recipe.yaml', '--set', 'data.max_length=4096'],
    },
    { what: 'no room for an answer', args: ['train', 'recipe.yaml', '--set', 'data.max_prompt_length=96'] },
    {
      what: 'prompts and sampled answers beyond the positions',
      args: ['train', 'recipe.yaml', '--set', 'method=irft'],
    },
    {
      what: 'one beta too few for the iterations of SPIN',
      args: [
        'train',
        'recipe.yaml',
        '--set',
        'method=spin',
        '--set',
        'spin.iterations=3',
        '--set',
        'spin.beta=[0.1, 0.2]',
        '--set',
        'generation.max_new_tokens=32',
      ],
    },
    {
      what: 'a run that does not fit in memory',
      args: ['train', 'recipe.yaml', '--set', 'memory_limit_bytes=9000000', '--set', 'output=runs/large'],
    },
  ],
  Data: [
    { what: 'no such file', args: score('nope.jsonl') },
    {
      what: 'no such file, in a recipe',
      args: ['train', 'recipe.yaml', '--set', 'data.train=nope.jsonl', '--set', 'output=runs/nope'],
    },
    { what: 'a folder without data', args: score('model') },
    { what: 'a file without a row', args: score('empty.jsonl'), files: { 'empty.jsonl': '' } },
    { what: 'a file of an unknown format', args: score('rows.data'), files: { 'rows.data': 'Once upon a time' } },
    { what: 'a table without names', args: score('rows.csv'), files: { 'rows.csv': 'prompt,response\nHi,Ho\n' } },
    {
      what: 'a line that is no JSON',
      args: score('line.jsonl'),
      files: { 'line.jsonl': `${row({})}{"prompt": "Hi",` },
    },
    { what: 'a row that is no object', args: score('number.jsonl'), files: { 'number.jsonl': '17\n' } },
    {
      what: 'a row without a response',
      args: score('half.jsonl'),
      files: { 'half.jsonl': lines(ROW, { prompt: 'Hi' }) },
    },
    {
      what: 'a row with other keys',
      args: score('keys.jsonl'),
      files: { 'keys.jsonl': lines({ question: 'Hi', answer: 'Ho' }) },
    },
    { what: 'a response that is a number', args: score('type.jsonl'), files: { 'type.jsonl': row({ response: 2 }) } },
    {
      what: 'a chat without an answer',
      args: score('chat.jsonl'),
      files: { 'chat.jsonl': lines({ messages: [{ role: 'user', content: 'Hi' }] }) },
    },
    {
      what: 'an id that the vocabulary does not have',
      args: score('ids.jsonl'),
      files: { 'ids.jsonl': lines({ prompt_ids: [3], response_ids: [4, 9999] }) },
    },
    {
      what: 'a row that is too long to be scored',
      args: score('long.jsonl'),
      files: { 'long.jsonl': row({ response: ' peas'.repeat(300) }) },
    },
    {
      what: 'bytes that are no UTF-8',
      args: score('bytes.jsonl'),
      files: { 'bytes.jsonl': Buffer.from('{"prompt": "\xFF\xFE", "response": "x"}\n', 'latin1') },
    },
    {
      what: 'a .json file that ends too early',
      args: score('cut.json'),
      files: { 'cut.json': '[{"prompt": "Hi", "response": "Ho"},' },
    },
    {
      what: 'a .gz file that was cut',
      args: score('cut.jsonl.gz'),
      files: { 'cut.jsonl.gz': gzipSync(row({})).subarray(0, 60) },
    },
    {
      what: 'a .parquet file that is none',
      args: score('rows.parquet'),
      files: { 'rows.parquet': 'PAR1 and no more' },
    },
    { what: 'an .arrow file that is none', args: score('rows.arrow'), files: { 'rows.arrow': 'ARROW1 and no more' } },
    {
      what: 'no row is left to train on',
      args: ['train', 'dropped.yaml'],
      files: withRows('dropped', 'dropped.jsonl', lines({ ...ROW, response: '' }, { ...ROW, prompt: '' })),
    },
    {
      what: 'text, and a model without a tokenizer',
      args: ['score', '--model', 'bare', '--data', 'rows.jsonl'],
      model: 'bare',
      removed: ['tokenizer.json'],
    },
    {
      what: 'a stop text, and a model without a tokenizer',
      args: ['generate', '--model', 'bare', '--data', 'some_ids.jsonl', '--stop', 'x'],
      model: 'bare',
      removed: ['tokenizer.json'],
      files: { 'some_ids.jsonl': lines({ prompt_ids: [3], response_ids: [4] }) },
    },
  ],
  'The model': [
    { what: 'no such folder', args: ask('modle') },
    { what: 'a folder without config.json', args: ask('no_config'), model: 'no_config', removed: ['config.json'] },
    {
      what: 'a config.json that was cut',
      args: ask('cut_config'),
      model: 'cut_config',
      files: { 'cut_config/config.json': '{"model_type": "lla' },
    },
    {
      what: 'a family that is not known',
      args: ask('other'),
      model: 'other',
      files: { 'other/config.json': config({ model_type: 'gpt2', architectures: ['GPT2LMHeadModel'] }) },
    },
    {
      what: 'a rope scaling that would be computed wrongly',
      args: ask('yarn'),
      model: 'yarn',
      files: { 'yarn/config.json': config({ rope_scaling: { rope_type: 'yarn', factor: 4 } }) },
    },
    {
      what: 'quantised weights',
      args: ask('quantised'),
      model: 'quantised',
      files: { 'quantised/config.json': config({ quantization_config: { quant_method: 'gptq' } }) },
    },
    {
      what: 'a size that is not the file\u2019s',
      args: ask('shape'),
      model: 'shape',
      files: { 'shape/config.json': config({ intermediate_size: 512 }) },
    },
    {
      what: 'a layer too many',
      args: ask('layers'),
      model: 'layers',
      files: { 'layers/config.json': config({ num_hidden_layers: 4 }) },
    },
    { what: 'no weights', args: ask('no_weights'), model: 'no_weights', removed: ['model.safetensors'] },
    {
      what: 'a model.safetensors that was cut',
      args: ask('cut_weights'),
      model: 'cut_weights',
      files: { 'cut_weights/model.safetensors': read('model.safetensors').subarray(0, 1e5) },
    },
    {
      what: 'a model.safetensors that is another file',
      args: ask('page'),
      model: 'page',
      files: { 'page/model.safetensors': '<html><body>404 not found</body></html>' },
    },
    {
      what: 'an index that leads out of the folder',
      args: ask('index'),
      model: 'index',
      removed: ['model.safetensors'],
      files: {
        'index/model.safetensors.index.json': JSON.stringify({
          weight_map: { 'model.embed_tokens.weight': '../model/model.safetensors' },
        }),
      },
    },
    {
      what: 'a tokenizer.json that was cut',
      args: ask('cut_tokenizer'),
      model: 'cut_tokenizer',
      files: { 'cut_tokenizer/tokenizer.json': read('tokenizer.json').subarray(0, 3e3) },
    },
    {
      what: 'the tokenizer of another model',
      args: ['train', 'recipe.yaml', '--set', 'model=small', '--set', 'init=random', '--set', 'output=runs/small'],
      model: 'small',
      files: { 'small/config.json': config({ vocab_size: 300 }) },
    },
    { what: 'no such tokenizer', args: ask('model', '--tokenizer', 'tokeniser') },
  ],
  'Imported data': [
    { what: 'a command inside of data that does not exist', args: ['data', 'impotr', 'rows.jsonl'] },
    { what: 'no tokenizer named', args: ['data', 'import', 'rows.jsonl', '--out', 'imports/a'] },
    { what: 'no such file', args: toImport('nope.jsonl', 'imports/b') },
    {
      what: 'an import into the folder of another one',
      before: toImport('rows.jsonl', 'imports/c'),
      args: toImport('rows.jsonl', 'imports/c', '--max-length', '64'),
    },
    { what: 'nothing to inspect', args: ['data', 'inspect', 'nope.jsonl', '--tokenizer', 'model'] },
  ],
  'Runs that go on': [
    {
      what: 'both --resume and --overwrite',
      args: ['train', 'recipe.yaml', '--resume', '--overwrite', '--set', 'output=runs/none'],
    },
    {
      what: 'another recipe than the run began with',
      before: ['train', 'recipe.yaml', '--set', 'output=runs/begun'],
      args: ['train', 'recipe.yaml', '--resume', '--set', 'output=runs/begun', '--set', 'seed=7'],
    },
    {
      what: 'a learning rate that makes the weights infinite',
      args: [
        'train',
        'recipe.yaml',
        '--set',
        'output=runs/hot',
        '--set',
        'train={epochs: 100, max_grad_norm: null, schedule: {name: constant, warmup_ratio: 0}, optimizer: {learning_rate: 1e+38}}',
      ],
    },
    { what: 'a report of no run', args: ['report', 'runs/nowhere'] },
    { what: 'a report of a folder that is no run', args: ['report', 'model'] },
    {
      what: 'a report into a folder that may not be written',
      before: ['train', 'recipe.yaml', '--set', 'output=runs/reported'],
      args: ['report', 'runs/reported', '--out', 'locked/report.html'],
      readonly: 'locked',
    },
  ],
  'Files that are written': [
    { what: 'a folder that holds a run already', before: ['train', 'recipe.yaml'], args: ['train', 'recipe.yaml'] },
    { what: 'an output that is a file', args: ['train', 'recipe.yaml', '--set', 'output=rows.jsonl'] },
    {
      what: 'a model that --overwrite would remove',
      before: ['train', 'recipe.yaml', '--set', 'output=runs/first'],
      args: ['train', 'recipe.yaml', '--overwrite', '--set', 'output=runs/first', '--set', 'model=runs/first/final'],
    },
    {
      what: 'a folder that may not be written',
      args: ['train', 'recipe.yaml', '--set', 'output=locked/run'],
      readonly: 'locked',
    },
    {
      what: 'rows into a folder that may not be written',
      args: score('rows.jsonl', '--out', 'locked/scores.jsonl'),
      readonly: 'locked',
    },
    { what: 'rows into a folder', args: score('rows.jsonl', '--out', 'model') },
    { what: 'rows below a file', args: score('rows.jsonl', '--out', 'rows.jsonl/scores.jsonl') },
    { what: 'a full disk', args: score('rows.jsonl', '--out', '/dev/full') },
  ],
};

/** The folder in which every case runs. */
export function badInputsFolder(): string {
  const folder = temporaryFolder();
  const model = (name: string) => cpSync(join(example, 'base/1'), join(folder, name), { recursive: true });
  model('model');
  const rows = readFileSync(join(example, 'data/demonstrations-1-clean.jsonl'), 'utf8');
  writeFileSync(join(folder, 'rows.jsonl'), rows.split('\n').slice(0, 16).join('\n'));
  writeFileSync(join(folder, 'recipe.yaml'), recipe());
  for (const { model: name, removed = [], files = {}, readonly } of Object.values(sections).flat()) {
    if (name !== undefined) model(name);
    for (const file of removed) rmSync(join(folder, name ?? '', file));
    for (const [file, content] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, file)), { recursive: true });
      writeFileSync(join(folder, file), content);
    }
    if (readonly !== undefined) mkdirSync(join(folder, readonly), { recursive: true, mode: 0o555 });
  }
  return folder;
}
