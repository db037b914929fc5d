// The sampler on real engines: its log-probs are the trainer's (pitfalls 5.9), what a prompt gets depends on nothing beside it, and the draws
// follow the distribution that they claim. Sets, ties and draws of one row of logits: test/native/ops/sampling_test.cc.

import assert from 'node:assert/strict';
import type { Engine } from '../../src/engine/engine.js';
import type { GeneratedRow, GenerateOptions, GeneratePrompt, TokenEvent } from '../../src/engine/types.js';
import { randomIds, randomNumbers, withGolden, withRandom } from '../support/engines.js';
import { assertClose, suite } from '../support/suite.js';

const plain: GenerateOptions = { max_new_tokens: 48, temperature: 1, top_p: 1, top_k: 0, seed: 9, eos_token_ids: [] };
const families = ['neox-parallel', 'neox-sequential', 'llama-gqa', 'llama-tied-linear', 'mistral-window'] as const;

/** 32 prompts of 1 to about 60 ids. */
function somePrompts(count = 32): GeneratePrompt[] {
  const random = randomNumbers(31);
  return Array.from({ length: count }, (_, i) => ({
    prompt_ids: randomIds(random, 1 + Math.floor(random() * 60)),
    sample_id: 100 + i,
  }));
}

const argmax = (values: Float32Array): number => values.indexOf(values.reduce((a, b) => Math.max(a, b)));

/** Softmax in fp64 of fp32 logits. */
function softmax(logits: Float32Array, temperature = 1): number[] {
  const largest = Math.max(...logits);
  const weights = Array.from(logits, (logit) => Math.exp((logit - largest) / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

async function lastLogits(engine: Engine, ids: readonly number[]): Promise<Float32Array> {
  const logits = await engine.logits(ids);
  return logits.at(-1) ?? new Float32Array();
}

/** The most that chance allows once in a thousand, for 1 to 12 degrees of freedom. */
const chiSquareLimit = [10.83, 13.82, 16.27, 18.47, 20.52, 22.46, 24.32, 26.12, 27.88, 29.59, 31.26, 32.91];

function assertDistribution(counts: readonly number[], probabilities: readonly number[]): void {
  const total = counts.reduce((sum, count) => sum + count, 0);
  let chiSquare = 0;
  let degrees = -1;
  for (const [token, probability] of probabilities.entries()) {
    const [count, expected] = [counts[token] ?? 0, probability * total];
    if (probability === 0) {
      assert.equal(count, 0, `token ${token} is outside the set`);
      continue;
    }
    chiSquare += (count - expected) ** 2 / expected;
    ++degrees;
  }
  const limit = chiSquareLimit[degrees - 1] ?? 0;
  assert.ok(chiSquare < limit, `chi-square ${chiSquare} of ${degrees} degrees: ${counts} for ${probabilities}`);
}

suite('sampler = trainer', (test) => {
  for (const name of families) {
    test(`${name}: log-probs of what was sampled, batches of 1, 8 and 32, greedy and sampled`, () =>
      withGolden(name, {}, async (engine) => {
        const prompts = somePrompts();
        for (const options of [
          { batch_size: 1 },
          { batch_size: 8, temperature: 0.7, top_p: 0.9 },
          { batch_size: 32 },
          { batch_size: 32, temperature: 0 },
          { batch_size: 8, temperature: 1.5, top_k: 20 },
        ]) {
          const written = await engine.generate(prompts, { ...plain, ...options });
          const rows = prompts.map(({ prompt_ids }, i) => ({
            id: `${i}`,
            prompt_ids,
            response_ids: written[i]?.response_ids ?? [],
          }));
          const scored = await engine.score(rows);
          let sum = 0;
          let tokens = 0;
          for (const [i, { full_logprobs, logprob, response_ids }] of written.entries()) {
            const wanted = scored[i]?.token_logprobs ?? new Float32Array();
            assert.equal(response_ids.length, 48);
            assertClose(full_logprobs, wanted, 1e-4, { what: `row ${i}` });
            assertClose(logprob, scored[i]?.logprob ?? Number.NaN, 1e-3);
            for (const [place, value] of wanted.entries()) {
              sum += Math.exp(Math.abs(value - (full_logprobs[place] ?? Number.NaN)));
              ++tokens;
            }
            assert.equal(scored[i]?.greedy, options.temperature === 0 ? true : scored[i]?.greedy);
          }
          assert.ok(sum / tokens <= 1.001, `mean of exp|Δ| is ${sum / tokens}`); // pitfalls 5.9, our gate
        }
      }));
  }

  test('a prompt of more than one prefill pass', () =>
    withRandom(
      { ...vocab10, vocab_size: 50, max_position_embeddings: 2048, initializer_range: 0.3 },
      {},
      async (engine) => {
        const random = randomNumbers(2);
        const prompts = [700, 3, 1300, 513, 512].map((length, sample_id) => ({
          prompt_ids: randomIds(random, length, 50),
          sample_id,
        }));
        const written = await engine.generate(prompts, { ...plain, max_new_tokens: 20 });
        const rows = prompts.map(({ prompt_ids }, i) => ({
          id: `${i}`,
          prompt_ids,
          response_ids: written[i]?.response_ids ?? [],
        }));
        for (const [i, { token_logprobs }] of (await engine.score(rows)).entries()) {
          assertClose(written[i]?.full_logprobs ?? [], token_logprobs, 1e-4);
        }
      },
    ));

  test('temperature 0 takes the argmax of the logits, and says log-prob 0', () =>
    withGolden('neox-sequential', {}, async (engine) => {
      const prompts = somePrompts(6);
      const written = await engine.generate(prompts, { ...plain, temperature: 0, max_new_tokens: 12 });
      for (const [i, { response_ids, token_logprobs }] of written.entries()) {
        const ids = [...(prompts[i]?.prompt_ids ?? [])];
        for (const token of response_ids) {
          assert.equal(token, argmax(await lastLogits(engine, ids)));
          ids.push(token);
        }
        assert.ok(token_logprobs.every((value) => value === 0));
      }
    }));
});

suite('a prompt’s answer is its own', (test) => {
  test('alone = in a batch of 32, at any batch_size, in any order, on any number of threads: tokens and bits', async () => {
    const options = { ...plain, temperature: 0.9, top_p: 0.95 };
    for (const name of ['llama-gqa', 'neox-parallel', 'mistral-window'] as const) {
      const prompts = somePrompts();
      const wanted = await withGolden(name, { threads: 1 }, (engine) =>
        engine.generate(prompts, { ...options, batch_size: 32 }),
      );
      await withGolden(name, { threads: 2 }, async (engine) => {
        const alone: GeneratedRow[] = [];
        for (const prompt of prompts) alone.push(...(await engine.generate([prompt], options)));
        assert.deepEqual(alone, wanted);
        for (const batch_size of [1, 3, 8, 31])
          assert.deepEqual(await engine.generate(prompts, { ...options, batch_size }), wanted);
        const turned = await engine.generate([...prompts].reverse(), { ...options, batch_size: 5 });
        assert.deepEqual(turned.reverse(), wanted);
      });
    }
  });

  test('with shared prefixes as without', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      const random = randomNumbers(8);
      const prefix = randomIds(random, 70);
      // Whole pages of 16 shared or not, the prefix itself, the same prompt twice, a fork in the middle.
      const tails = [0, 0, 1, 5, 16, 40, 2].map((length) => randomIds(random, length));
      const prompts = [
        ...tails.map((tail) => [...prefix, ...tail]),
        prefix.slice(0, 33),
        [...prefix.slice(0, 33), ...randomIds(random, 30)],
        // The second page holds the same ids after another first one.
        [...randomIds(random, 16), ...prefix.slice(16)],
      ];
      const asked = [...prompts, ...prompts].map((prompt_ids, sample_id) => ({ prompt_ids, sample_id }));
      const together = await engine.generate(asked, { ...plain, batch_size: 7 });
      for (const [i, prompt] of asked.entries()) {
        const [alone] = await engine.generate([prompt], plain);
        assert.deepEqual(together[i], alone, `prompt ${i}`);
      }
    }));

  test('it depends on seed and sample_id', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      const [prompt] = somePrompts(1);
      assert.ok(prompt);
      const textOf = async (sample_id: number, seed: number) => {
        const [row] = await engine.generate([{ ...prompt, sample_id }], { ...plain, seed });
        return `${row?.response_ids}`;
      };
      const texts = await Promise.all([
        textOf(0, 1),
        textOf(1, 1),
        textOf(0, 2),
        textOf(2 ** 40, 1),
        textOf(0, 2 ** 40),
        textOf(0, -1),
      ]);
      assert.equal(new Set(texts).size, texts.length);
      assert.equal(await textOf(0, 1), texts[0]);
    }));
});

const vocab10 = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: 10,
  hidden_size: 16,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  intermediate_size: 16,
  max_position_embeddings: 32,
  initializer_range: 0.6,
  eos_token_id: 2,
};
const PROMPT = [3, 1, 4];
/** Many answers to one prompt. */
const draws = (engine: Engine, count: number, options: Partial<GenerateOptions>) =>
  engine.generate(
    Array.from({ length: count }, (_, sample_id) => ({ prompt_ids: PROMPT, sample_id })),
    { ...plain, max_new_tokens: 1, batch_size: 256, ...options },
  );
const countsOf = (tokens: Iterable<number | undefined>, vocab = 10): number[] => {
  const counts = Array.from({ length: vocab }, () => 0);
  for (const token of tokens) counts[token ?? -1] = (counts[token ?? -1] ?? 0) + 1;
  return counts;
};

suite('the distribution', (test) => {
  test('1e5 first tokens follow softmax, and second tokens softmax after the first (chi-square)', () =>
    withRandom(vocab10, {}, async (engine) => {
      const written = await draws(engine, 100_000, { max_new_tokens: 2 });
      const first = softmax(await lastLogits(engine, PROMPT));
      assert.ok(Math.max(...first) > 0.15 && Math.min(...first) < 0.05, `${first} is too flat to tell anything`);
      const counts = countsOf(written.map(({ response_ids }) => response_ids[0]));
      assertDistribution(counts, first);
      const common = counts.indexOf(Math.max(...counts));
      const after = written
        .filter(({ response_ids }) => response_ids[0] === common)
        .map(({ response_ids }) => response_ids[1]);
      assert.ok(after.length > 10_000);
      assertDistribution(countsOf(after), softmax(await lastLogits(engine, [...PROMPT, common])));
    }));

  const cases: [string, { temperature: number; top_p: number; top_k: number }][] = [
    ['temperature 0.6', { temperature: 0.6, top_p: 1, top_k: 0 }],
    ['temperature 2', { temperature: 2, top_p: 1, top_k: 0 }],
    ['top_k 3', { temperature: 1, top_p: 1, top_k: 3 }],
    ['top_p 0.7', { temperature: 1, top_p: 0.7, top_k: 0 }],
    ['all three', { temperature: 1.3, top_p: 0.8, top_k: 6 }],
  ];
  for (const [name, settings] of cases) {
    test(`${name}: exactly the set, its renormalised probabilities, and log-probs under them`, () =>
      withRandom(vocab10, {}, async (engine) => {
        const logits = await lastLogits(engine, PROMPT);
        const tempered = softmax(logits, settings.temperature);
        const order = tempered.map((_, token) => token).sort((a, b) => (tempered[b] ?? 0) - (tempered[a] ?? 0));
        const first = settings.top_k > 0 ? order.slice(0, settings.top_k) : order;
        const massOf = (tokens: readonly number[]) => tokens.reduce((sum, token) => sum + (tempered[token] ?? 0), 0);
        let size = 1;
        while (size < first.length && massOf(first.slice(0, size)) < settings.top_p * massOf(first)) ++size;
        const kept = first.slice(0, size);
        const wanted = tempered.map((probability, token) => (kept.includes(token) ? probability / massOf(kept) : 0));
        const written = await draws(engine, 20_000, settings);
        assertDistribution(countsOf(written.map(({ response_ids }) => response_ids[0])), wanted);
        const full = softmax(logits);
        for (const { response_ids, token_logprobs, full_logprobs } of written) {
          const token = response_ids[0] ?? 0;
          assertClose(token_logprobs[0] ?? 0, Math.log(wanted[token] ?? 0), 1e-5);
          assertClose(full_logprobs[0] ?? 0, Math.log(full[token] ?? 0), 1e-5);
        }
      }));
  }
});

suite('ends', (test) => {
  test('EOS and stop ids end an answer where they are first drawn, and stay in it', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      const prompts = somePrompts();
      const [eos, stop] = [
        [2, 7, 11],
        [20, 33],
      ];
      const free = await engine.generate(prompts, { ...plain, max_new_tokens: 30 });
      const options = { ...plain, max_new_tokens: 30, eos_token_ids: eos, stop_token_ids: stop };
      const ended = await engine.generate(prompts, { ...options, batch_size: 4 });
      const reasons = new Set<string>();
      for (const [i, { response_ids, finish_reason, token_logprobs }] of ended.entries()) {
        const all = free[i]?.response_ids ?? new Int32Array();
        const place = all.findIndex((token) => eos.includes(token) || stop.includes(token));
        const length = place < 0 ? 30 : place + 1;
        assert.deepEqual(response_ids, all.slice(0, length));
        assert.equal(token_logprobs.length, length);
        assert.equal(finish_reason, place < 0 ? 'length' : eos.includes(all[place] ?? -1) ? 'eos' : 'stop');
        reasons.add(finish_reason);
      }
      assert.equal(reasons.size, 3);
    }));

  test('an id that is both ends with eos; EOS as the last token allowed is eos, not length', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      const [prompt] = somePrompts(1);
      assert.ok(prompt);
      const [free] = await engine.generate([prompt], plain);
      const token = free?.response_ids[5] ?? 0;
      const place = free?.response_ids.indexOf(token) ?? 0;
      const options = { ...plain, max_new_tokens: place + 1, eos_token_ids: [token], stop_token_ids: [token] };
      const [ended] = await engine.generate([prompt], options);
      assert.equal(ended?.finish_reason, 'eos');
      assert.equal(ended?.response_ids.length, place + 1);
    }));

  test('onToken sees every token in order', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      const prompts = somePrompts();
      const seen = prompts.map((): number[] => []);
      const onToken = ({ prompt, token, position }: TokenEvent) => {
        assert.equal(position, seen[prompt]?.length);
        seen[prompt]?.push(token);
        return undefined;
      };
      const written = await engine.generate(prompts, { ...plain, batch_size: 5, eos_token_ids: [7], onToken });
      assert.deepEqual(
        seen,
        written.map(({ response_ids }) => [...response_ids]),
      );
    }));

  test('an onToken that answers true ends that answer there, and no other', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      const prompts = somePrompts();
      const free = await engine.generate(prompts, plain);
      const onToken = ({ prompt, position }: TokenEvent) => prompt % 3 === 0 && position === prompt;
      const written = await engine.generate(prompts, { ...plain, batch_size: 5, onToken });
      for (const [i, { response_ids, finish_reason, logprob, full_logprobs }] of written.entries()) {
        const length = i % 3 === 0 ? i + 1 : 48;
        assert.deepEqual(response_ids, free[i]?.response_ids.slice(0, length));
        assert.equal(finish_reason, i % 3 === 0 ? 'stop' : 'length');
        assert.equal(full_logprobs.length, length);
        assertClose(
          logprob,
          full_logprobs.reduce((sum, value) => sum + value, 0),
          1e-4,
        );
      }
    }));
});
