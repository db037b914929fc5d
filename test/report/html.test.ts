// What gets into a page is text, whatever it holds.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Html, html, jsonScript } from '../../src/report/html.js';
import { suite } from '../support/suite.js';

suite('html', (test) => {
  test('parts are escaped, lists joined, nothing is nothing', () => {
    const list = ['a&b', '<i>', '"\''].map((text) => html`<li title="${text}">${text}</li>`);
    assert.equal(
      html`<ul>${list}${false}${undefined}${0}</ul>`.text,
      '<ul><li title="a&amp;b">a&amp;b</li><li title="&lt;i&gt;">&lt;i&gt;</li><li title="&quot;&#39;">&quot;&#39;</li>0</ul>',
    );
    assert.equal(html`${new Html('<b>')}`.text, '<b>');
  });

  test('control characters are seen, lone surrogates cannot break the file', () => {
    assert.equal(html`${'a\0b\x1b[1m\x7f\tc\n\r\nd\re\ud800'}`.text, 'a␀b␛[1m␡\tc\n\nd␍e\ufffd');
  });

  test('no text leaves its element', () => {
    const within = (text: string) => html`<p title="${text}">${text}</p>`.text;
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        assert.match(within(text), /^<p title="[^"<>]*">[^<>]*<\/p>$/);
      }),
      { seed: 7 },
    );
  });

  test('data keeps its value and cannot end its script', () => {
    const within = (value: unknown) => {
      const [, json = ''] =
        /^<script type="application\/json" id="data">([^<>&\u2028\u2029]*)<\/script>$/.exec(
          jsonScript('data', value).text,
        ) ?? [];
      return JSON.parse(json) as unknown;
    };
    const value = { text: '</script><!-- \u2028\u2029 & <script>', number: 1.5, none: null };
    assert.deepEqual(within(value), value);
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => assert.equal(within([text])?.toString(), [text].toString())),
      { seed: 7 },
    );
  });
});
