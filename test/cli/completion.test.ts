// Completion as bash asks for it: the script is sourced by a real bash, which is told what stands on the line.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { recipeKeys } from '../../src/recipe/keys.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tiny_run.js';

const bin = fileURLToPath(new URL('../../bin/gleaner.mjs', import.meta.url));
const ask = (...args: string[]) => spawnSync(process.execPath, [bin, ...args], { encoding: 'utf8' });

const folder = temporaryFolder();
mkdirSync(join(folder, 'my runs'));
mkdirSync(join(folder, 'models'));
writeFileSync(join(folder, 'recipe.yaml'), '');
writeFileSync(join(folder, 'rows.jsonl'), '');
const scripts = new Map(['bash', 'zsh', 'fish'].map((shell) => [shell, ask('completion', shell)]));
writeFileSync(join(folder, 'completion.bash'), scripts.get('bash')?.stdout ?? '');

const COMPLETE = `
source completion.bash
COMP_LINE=$1 COMP_POINT=\${#1}; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_gleaner 2>errors
printf '%s\\n' "\${COMPREPLY[@]}"
cat errors`;

/** The candidates at the end of the line. */
function at(line: string, wordBreaks = true): string[] {
  const words = line.split(' ').flatMap((word) => (wordBreaks ? word.split(/(=)/).filter(Boolean) : [word]));
  if (line.endsWith(' ')) words.push('');
  const breaks = wordBreaks ? [] : ['-c', `COMP_WORDBREAKS=' '; ${COMPLETE}`];
  const { stdout, stderr, status } = spawnSync(
    'bash',
    ['--norc', ...(wordBreaks ? ['-c', COMPLETE] : breaks), 'bash', line, ...words],
    { cwd: folder, encoding: 'utf8' },
  );
  assert.equal(status, 0, stderr);
  return stdout.split('\n').filter((word) => word !== '');
}

suite('completion', (test) => {
  test('a script for each shell; --help says how to install it; another shell is refused', () => {
    for (const [shell, { status, stdout, stderr }] of scripts) {
      assert.equal(status, 0, `${shell}: ${stderr}`);
      assert.match(stdout, /gleaner completion/);
    }
    assert.match(ask('completion', '--help').stdout, /\.bashrc/);
    const other = ask('completion', 'tcsh');
    assert.equal(other.status, 2);
    assert.match(other.stderr, /bash, zsh, fish/);
  });

  test('every shell has every command, option, choice and recipe key', () => {
    for (const [shell, { stdout }] of scripts) {
      for (const word of ['train', 'generate', 'score', 'doctor', 'dry-run', 'max-new-tokens', 'chatml'])
        assert.ok(stdout.includes(word), `${shell}: ${word}`);
      for (const { key, values } of recipeKeys())
        for (const word of [key, ...values]) assert.ok(stdout.includes(word), `${shell}: ${word}`);
    }
  });

  test('commands', () => {
    assert.deepEqual(at('gleaner g'), ['generate']);
    for (const name of ['train', 'generate', 'score', 'doctor', 'completion'])
      assert.ok(at('gleaner ').includes(name), name);
    assert.deepEqual(at('gleaner completion '), ['bash', 'zsh', 'fish']);
  });

  test('every command that is offered has a --help with an example', () => {
    const names = at('gleaner ').flatMap((name) => {
      const inner = at(`gleaner ${name} `).map((word) => [name, word]);
      return name === 'data' ? inner : [[name]];
    });
    assert.ok(names.length >= 5);
    for (const name of names) {
      const { status, stdout } = ask(...name, '--help');
      assert.equal(status, 0, name.join(' '));
      assert.match(stdout, /Examples?:\n {2}(gleaner |source )/, name.join(' '));
    }
  });

  test('options of the command on the line', () => {
    assert.deepEqual(at('gleaner train recipe.yaml --dr'), ['--dry-run']);
    assert.deepEqual(at('gleaner score --dr'), []);
    assert.ok(at('gleaner generate --model models -').includes('--temperature'));
  });

  test('choices of an option, with a space and with =', () => {
    assert.deepEqual(at('gleaner generate --template z'), ['zephyr']);
    assert.deepEqual(at('gleaner generate --template=c'), ['chatml']);
    assert.deepEqual(at('gleaner generate --template=c', false), ['--template=chatml']);
    assert.deepEqual(at('gleaner generate --seed '), []);
  });

  test('files for a recipe, folders for a model', () => {
    assert.deepEqual(at('gleaner train rec'), ['recipe.yaml']);
    assert.deepEqual(at('gleaner score --model m').sort(), ['models', 'my runs']);
    assert.deepEqual(at('gleaner score --data ro'), ['rows.jsonl']);
  });

  test('recipe keys, their words, and files for the keys that take paths', () => {
    assert.deepEqual(at('gleaner train recipe.yaml --set train.sch'), [
      'train.schedule.name=',
      'train.schedule.warmup_ratio=',
      'train.schedule.warmup_steps=',
    ]);
    assert.deepEqual(at('gleaner train recipe.yaml --set train.optimizer.name='), ['rmsprop', 'adamw']);
    assert.deepEqual(at('gleaner train recipe.yaml --set train.optimizer.name=a', false), [
      'train.optimizer.name=adamw',
    ]);
    assert.deepEqual(at('gleaner train recipe.yaml --set data.train=ro'), ['rows.jsonl']);
    assert.deepEqual(at('gleaner train recipe.yaml --set seed=1 --ov'), ['--overwrite']);
  });

  test('what stands on the line is never run', () => {
    at('gleaner train $(:>ran) --set `:>ran`');
    assert.deepEqual(at('gleaner score --data ra'), []);
  });
});
