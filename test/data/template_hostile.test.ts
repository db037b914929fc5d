// A chat template comes with a model and nobody has read it: it gets at nothing but its messages, and ends in seconds, with little memory and one
// error, whatever it says.

import assert from 'node:assert/strict';
import { renderChat } from '../../src/data/chat/chat.js';
import { ChatTemplate } from '../../src/data/chat/template.js';
import { assertRejects, suite } from '../support/suite.js';

const messages = [
  { role: 'user', content: 'Hi' },
  { role: 'assistant', content: 'Hello.' },
];
const render = (source: string, chat = messages) =>
  new ChatTemplate(source, { eos_token: '</s>' }, 'DIR/FILE').render(chat, { add_generation_prompt: false });

const doubled = (start: string, times: number, step: string) =>
  `{% set ns = namespace(x=${start}) %}{% for i in range(${times}) %}{% set ns.x = ${step} %}{% endfor %}`;

/** A text of a million characters, in `ns.x`. */
const long = doubled("'a'", 20, 'ns.x ~ ns.x');
const nested = (open: string, close: string, times = 20_000) => `{{ ${open.repeat(times)}1${close.repeat(times)} }}`;

const hostile: Record<string, string> = {
  'a huge range': '{% for i in range(10 ** 9) %}{% endfor %}',
  'a range that is only counted': '{{ range(1000000000) | length }}',
  'a range without an end': '{{ range(10 ** 308 * 10) }}',
  'a range of tiny steps': '{{ range(0, 1, 0.000000001) | length }}',
  'loops in loops':
    '{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}',
  'loops in loops over nothing': `{% set r = range(99999) %}${'{% for a in r %}'.repeat(4)}${'{% endfor %}'.repeat(4)}`,
  'loops with a filter': '{% for a in range(99999) %}{% for b in range(99999) if false %}{% endfor %}{% endfor %}',
  'a macro that calls itself': '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}',
  'a macro that calls itself twice':
    '{% macro f(n) %}{% if n < 60 %}{{ f(n + 1) }}{{ f(n + 1) }}{% endif %}{% endmacro %}{{ f(0) }}',
  'macros in turn': '{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}',
  'a caller that calls':
    '{% macro f() %}{{ caller() }}{% endmacro %}{% macro g() %}{% call f() %}{{ g() }}{% endcall %}{% endmacro %}{{ g() }}',
  'a text that doubles': `${doubled("'x'", 99, 'ns.x ~ ns.x')}{{ ns.x }}`,
  'a text that doubles with +': `${doubled("'x'", 99, 'ns.x + ns.x')}{{ ns.x }}`,
  'a text that doubles in set blocks': `{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}{% endfor %}`,
  'a list that doubles': `${doubled('[1]', 99, 'ns.x + ns.x')}{{ ns.x | length }}`,
  'a list of itself twice, written out': `${doubled('[1]', 60, '[ns.x, ns.x]')}{{ ns.x }}`,
  'a list of itself twice, as JSON': `${doubled('[1]', 60, '[ns.x, ns.x]')}{{ ns.x | tojson }}`,
  'a list of itself twice, compared': `${doubled('[1]', 60, '[ns.x, ns.x]')}{{ ns.x == 'a' }}`,
  'a mapping of itself twice': `${doubled('{}', 60, "{'a': ns.x, 'b': ns.x}")}{{ ns.x | string }}`,
  'a namespace in itself': '{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}',
  'a namespace in its list': '{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns.x | tojson }}',
  'a deep list': `${doubled('1', 100_000, '[ns.x]')}{{ ns.x | tojson }}`,
  'a wide indent': "{{ 'a\nb' | indent(10 ** 9, true) }}",
  'a wide indent by name': "{{ 'a\nb' | indent(width=10 ** 9, first=true) }}",
  'a wide indent from a list': "{{ 'a\nb' | indent(*[10 ** 9]) }}",
  'a wide indent of a block': '{% filter indent(10 ** 9, true) %}a\nb{% endfilter %}',
  'JSON with a wide indent': '{{ [[1]] | tojson(indent=10 ** 9) }}',
  'JSON with long separators': `${long}{{ range(9999) | tojson(separators=(ns.x, ns.x)) }}`,
  'joining with a long text': `${long}{{ range(99999) | join(ns.x) }}`,
  'joining characters with a long text': `${long}{{ ns.x | join(ns.x) }}`,
  'replacing by a long text': `${long}{{ ns.x.replace('a', ns.x) }}`,
  'replacing nothing by a long text': `${long}{{ ns.x | replace('', ns.x) }}`,
  'a search for half of a text in it': `${long}{% set y = 'b' ~ ns.x[:500000] %}{% for i in range(9999) %}{{ y in ns.x }}{% endfor %}`,
  'splitting at half of a text': `${long}{% set y = 'b' ~ ns.x[:500000] %}{{ ns.x.split(y) | length }}`,
  'replacing half of a text': `${long}{% set y = 'b' ~ ns.x[:500000] %}{{ ns.x.replace(y, '') | length }}`,
  'splitting into very many': `${long}{{ ns.x.split('a') | length }}`,
  'long texts again and again': `${long}{% for i in range(99999) %}{% set y = ns.x | upper | lower | title | trim %}{% endfor %}`,
  'sorting by a long path': `${long.replace("'a'", "'a.'")}{{ range(99999) | sort(attribute=ns.x) | length }}`,
  'a macro defined again and again': `{% for i in range(99999) %}{% macro f() %}${'{{ 1 }}'.repeat(9999)}{% endmacro %}{% endfor %}`,
  'dates again and again': `${long}{% for i in range(99999) %}{{ strftime_now(ns.x) }}{% endfor %}`,
  'a long exception': `${long}{{ raise_exception(ns.x) }}`,
  'white space for the search for generation tags': `${' '.repeat(100_000)}x`,
  'white space in a tag': `{%${' '.repeat(100_000)}x`,
  'a long source': 'x'.repeat(2 ** 18),
  'deep brackets': nested('(', ')'),
  'deep lists': nested('[', ']'),
  'deep signs': nested('- ', ''),
  'deep negations': nested('not ', ''),
  'deep conditions': `${'{% if true %}'.repeat(9000)}${'{% endif %}'.repeat(9000)}`,
  'a long sum': `{{ 1${' + 1'.repeat(20_000)} }}`,
  'a long path': `{{ messages${'.a'.repeat(20_000)} }}`,
  'open ends': '{{ [',
  'open text': "{{ 'a",
  'an open comment': '{# a',
};

suite('hostile chat templates', (test) => {
  for (const [name, source] of Object.entries(hostile)) {
    test(`${name}: one error, soon`, async () => {
      const begun = performance.now();
      const before = process.memoryUsage().rss;
      // The one that raises an exception refuses a conversation, as any template may.
      const raises = name === 'a long exception';
      const error = await assertRejects(() => render(source), raises ? 'undefined' : 'ERR_GLEANER_DATA').catch(
        (thrown: unknown) => thrown,
      );
      assert.ok(error instanceof Error);
      if (!raises) assert.match(error.message, /^DIR\/FILE: the chat template /);
      assert.ok(error.message.length < 1100, `${error.message.length} characters`);
      const seconds = (performance.now() - begun) / 1000;
      assert.ok(seconds < 60, `${seconds} s`); // 2 s on an idle machine
      const megabytes = (process.memoryUsage().rss - before) / 2 ** 20;
      assert.ok(megabytes < 700, `${megabytes} MB`);
    });
  }

  test('it gets at nothing but its variables', () => {
    for (const path of [
      'constructor',
      '__proto__',
      'prototype',
      'toString',
      'valueOf',
      '__class__',
      '__init__',
      '_builtins',
    ]) {
      for (const object of [
        'messages',
        'messages[0]',
        "''",
        '1',
        '{}',
        '[]',
        'range',
        'namespace()',
        'loop',
        'raise_exception',
        'none',
      ]) {
        const text = (source: string) => {
          try {
            return render(source);
          } catch (error) {
            if (!(error instanceof Error)) throw error;
            return '';
          }
        };
        assert.equal(text(`{{ ${object}.${path} }}`), '', `${object}.${path}`);
        assert.equal(text(`{{ ${object}['${path}'] }}`), '', `${object}['${path}']`);
        assert.equal(text(`{{ ${object}.${path}.constructor('return process')() }}`), '');
        assert.equal(text(`{{ ${object} | attr('${path}') }}`), '');
      }
    }
    for (const name of ['process', 'globalThis', 'require', 'self', 'cycler', 'lipsum', 'config', 'this', 'Object'])
      assert.equal(render(`{{ ${name} is defined }}`), 'false', name);
    assert.equal(render("{% set ns = namespace() %}{% set ns.__proto__ = 'x' %}{{ ns.y is defined }}"), 'false');
    assert.equal(Reflect.get({}, 'y'), undefined);
  });

  test('rows are not refused one by one: the run ends with the template', async () => {
    const template = new ChatTemplate('{% for i in range(10 ** 9) %}{% endfor %}', {}, 'DIR');
    await assertRejects(
      () => renderChat({ before: messages, answer: undefined }, template),
      'ERR_GLEANER_DATA',
      /stopped/,
    );
    const raises = new ChatTemplate("{{ raise_exception('no') }}", {}, 'DIR');
    assert.deepEqual(renderChat({ before: messages, answer: undefined }, raises), {
      refused: 'refused_by_template',
      why: 'no',
    });
  });

  test('long conversations are no attack', () => {
    const source = `{% for message in messages %}{% if loop.index0 > 0 and messages[loop.index0 - 1].role == message.role %}{{ raise_exception('twice') }}{% endif %}
{{ '<|' ~ message.role ~ '|>' + message['content'] | trim | replace('\\n\\n', '\\n') + eos_token }}{% endfor %}`;
    const chat = (count: number, content: string) =>
      Array.from({ length: count }, (_, place) => ({ role: place % 2 === 0 ? 'user' : 'assistant', content }));
    assert.ok(render(source, chat(5000, 'Hello there.\n\n')).length > 5000 * 20);
    assert.ok(render(source, chat(4, 'long text '.repeat(100_000))).length > 3_000_000);
    assert.ok(render(source, chat(2000, 'x'.repeat(1000))).length > 2_000_000);
  });
});
