// The report as a reader has it before them, in headless Chromium: wide and narrow, light and dark, by mouse and by keyboard.
// The functions given to `evaluate` run in the page, as text: what they look at is asked for in strings, so that no type of the browser's is needed here.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'puppeteer-core';
import { z } from 'zod';
import { chosen, recipeFor } from '../../examples/quickstart/recipes.js';
import { run } from '../../src/recipe/run.js';
import { writeReport } from '../../src/report/report.js';
import { chromium, type Look, launch, openPage } from '../support/browser.js';
import { suite } from '../support/suite.js';
import { tinyRun } from '../support/tiny_run.js';

const looks: Look[] = [390, 1600].flatMap((width) => (['light', 'dark'] as const).map((theme) => ({ width, theme })));

/** Lines of the legends whose colour is nowhere on their canvas. */
const linesNotDrawn = `[...document.querySelectorAll('figure.chart')].flatMap((figure) => {
  const canvas = figure.querySelector('canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return [...figure.querySelectorAll('.legend span:not(.off) path')].flatMap((path) => {
    const colour = getComputedStyle(path).stroke.match(/[0-9.]+/g).map(Number);
    let pixels = 0;
    for (let at = 0; at < data.length; at += 4)
      if (data[at + 3] > 200 && [0, 1, 2].every((part) => Math.abs(data[at + part] - colour[part]) < 12)) ++pixels;
    return pixels >= 8 ? [] : [figure.querySelector('h3').textContent + ': ' + path.closest('span').textContent];
  });
})`;
const numCanvases = `document.querySelectorAll('canvas').length`;
const numFigures = `document.querySelectorAll('figure.chart').length`;
/** What sticks out to the right, but for what scrolls inside its own frame. */
const overflow = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
const background = 'getComputedStyle(document.body).backgroundColor';
/** Contrast of text with what is behind it, the lowest of the page, as WCAG reckons it. */
const lowestContrast = `(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const paint = (...colours) => {
    canvas.fillStyle = '#fff'; canvas.fillRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let lowest = [21, ''];
  for (const element of document.querySelectorAll('main *')) {
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) || element.closest(':disabled, noscript, .off')) continue;
    const behind = [];
    for (let parent = element; parent; parent = parent.parentElement) behind.unshift(getComputedStyle(parent).backgroundColor);
    const [a, b] = [paint(...behind), paint(...behind, getComputedStyle(element).color)].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < lowest[0]) lowest = [contrast, element.textContent.slice(0, 60)];
  }
  return lowest;
})()`;

/** uPlot draws in the next microtask, and again when its place has got its size. */
async function settled(page: Page): Promise<void> {
  await page.evaluate('new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))');
}

async function textOf(page: Page, selector: string): Promise<string> {
  return String(await page.evaluate(`document.querySelector(${JSON.stringify(selector)}).textContent`));
}

const executable = chromium();

suite('report in a browser', (test) => {
  if (executable === undefined && !process.env.CI) {
    test.skip('in Chromium', 'no chromium was found: apt-get install chromium, or set GLEANER_CHROMIUM');
    return;
  }
  const tiny = tinyRun();
  const urls: Record<string, string> = {};
  let browser: Browser | undefined;
  const opened = async (name: string, look: Look) => {
    assert.ok(browser && urls[name]);
    const { page, complaints } = await openPage(browser, urls[name], look);
    await settled(page);
    return { page, complaints };
  };

  test.before(async () => {
    assert.ok(executable, 'no chromium was found, and CI is set');
    const write = async (name: string, folders: string[]) => {
      const out = tiny.path(`${name}.html`);
      await writeReport(folders, out);
      urls[name] = pathToFileURL(out).href;
    };
    await run({ ...tiny.recipe, evaluation: { every: 2, samples: 3 } });
    const folders: string[] = [];
    for (const method of ['sft', 'irft'] as const) {
      const output = tiny.path(`text-${method}`);
      const recipe = recipeFor(
        method,
        { ...chosen.clean[method], steps: 6 },
        { seed: 1, train: 'examples/quickstart/data/demonstrations-1-clean.jsonl', output },
      );
      await run({
        ...recipe,
        data: { ...recipe.data, eval: 'examples/quickstart/data/dev.jsonl', limit: 32, eval_limit: 16 },
        evaluation: { every: 3, samples: 4 },
      });
      folders.push(output);
    }
    await write('ids', [tiny.path('run')]);
    await write('text', folders.slice(1));
    await write('several', [...folders, tiny.path('run')]);
    browser = await launch(executable);
  });
  test.after(async () => {
    await browser?.close();
  });

  for (const name of ['ids', 'text', 'several']) {
    for (const look of looks) {
      test(`${name}, ${look.width} px, ${look.theme}: drawn, silent, within its width, readable`, async () => {
        const { page, complaints } = await opened(name, look);
        const missing = z.array(z.string()).parse(await page.evaluate(linesNotDrawn));
        // Runs with equal values lie over each other; noisy ones never are equal.
        const noisy = (line: string) => name !== 'several' || /^(Loss|Gradient norm|Throughput):/.test(line);
        assert.deepEqual(missing.filter(noisy), [], 'lines that are not drawn');
        const count = await page.evaluate(numCanvases);
        assert.ok(Number(count) >= 12 && count === (await page.evaluate(numFigures)), `${count} canvases`);
        assert.equal(await page.evaluate(overflow), 0, 'sticks out to the right');
        const [r, g, b] =
          String(await page.evaluate(background))
            .match(/\d+/g)
            ?.map(Number) ?? [];
        assert.equal((r ?? 0) + (g ?? 0) + (b ?? 0) < 384, look.theme === 'dark');
        const [contrast, where] = z.tuple([z.number(), z.string()]).parse(await page.evaluate(lowestContrast));
        assert.ok(contrast >= 4.5, `contrast ${contrast} of “${where}”`);
        assert.deepEqual(complaints, []);
        await page.close();
      });
    }
  }

  test('the theme is chosen by hand, kept, and wins over the system’s', async () => {
    const { page } = await opened('ids', { width: 1600, theme: 'dark' });
    const dark = await page.evaluate(background);
    await page.click('#theme');
    assert.equal(await textOf(page, '#theme'), 'Theme: light');
    assert.notEqual(await page.evaluate(background), dark);
    await page.reload();
    assert.equal(await textOf(page, '#theme'), 'Theme: light');
    await page.click('#theme');
    await page.click('#theme');
    assert.equal(await textOf(page, '#theme'), 'Theme: auto');
    assert.equal(await page.evaluate(background), dark);
    await page.close();
  });

  test('values under the mouse, zoom by drag and back', async () => {
    const { page, complaints } = await opened('ids', { width: 1600, theme: 'light' });
    const legend = '.chart .legend';
    const last = await textOf(page, legend);
    const box = await (await page.$('.chart .u-over'))?.boundingBox();
    assert.ok(box);
    const at = (share: number) => [box.x + box.width * share, box.y + box.height / 2] as const;
    await page.mouse.move(...at(0.2));
    await settled(page);
    assert.equal(await textOf(page, '.chart .at'), 'step 1');
    assert.equal(await textOf(page, '.chart:nth-of-type(3) .at'), 'step 1'); // the others follow
    assert.equal(await page.evaluate(`document.querySelector('#reset').disabled`), true);
    await page.mouse.move(...at(0.3));
    await page.mouse.down();
    await page.mouse.move(...at(0.7), { steps: 4 });
    await page.mouse.up();
    await settled(page);
    assert.equal(await page.evaluate(`document.querySelector('#reset').disabled`), false);
    assert.deepEqual(await page.evaluate(linesNotDrawn), []);
    await page.click('#reset');
    await page.mouse.move(0, 0);
    await settled(page);
    assert.equal(await page.evaluate(`document.querySelector('#reset').disabled`), true);
    assert.equal(await textOf(page, legend), last);
    assert.deepEqual(complaints, []);
    await page.close();
  });

  test('by keyboard: arrows show values, + and Escape zoom', async () => {
    const { page } = await opened('ids', { width: 1600, theme: 'light' });
    await page.focus('.chart .plot');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    await settled(page);
    assert.equal(await textOf(page, '.chart .at'), 'step 2');
    await page.keyboard.press('End');
    await settled(page);
    assert.equal(await textOf(page, '.chart .at'), 'step 6');
    await page.keyboard.press('+');
    await settled(page);
    assert.equal(await page.evaluate(`document.querySelector('#reset').disabled`), false);
    await page.keyboard.press('Escape');
    await settled(page);
    assert.equal(await page.evaluate(`document.querySelector('#reset').disabled`), true);
    await page.close();
  });

  test('smoothing, a logarithmic axis and hidden runs redraw the curves', async () => {
    const { page, complaints } = await opened('several', { width: 1600, theme: 'light' });
    const picture = () => page.evaluate(`document.querySelector('canvas').toDataURL()`);
    const seen = new Set([await picture()]);
    const changed = async (what: string) => {
      await settled(page);
      const now = await picture();
      assert.ok(!seen.has(now), `${what} changed nothing`);
      seen.add(now);
    };
    await page.focus('#smoothing');
    await page.keyboard.press('End');
    await changed('smoothing');
    assert.equal(await textOf(page, 'output'), '0.98');
    await page.click('.chart .log');
    await changed('the axis');
    await page.click('input[data-run="1"]');
    await changed('hiding a run');
    assert.deepEqual(await page.evaluate(linesNotDrawn), []);
    assert.deepEqual(complaints, []);
    await page.close();
  });

  test('on paper it is light and whole', async () => {
    const { page, complaints } = await opened('text', { width: 1600, theme: 'dark' });
    const widest = `Math.max(...[...document.querySelectorAll('canvas')].map(({ clientWidth }) => clientWidth))`;
    const dark = await page.evaluate(background);
    await page.evaluate(`dispatchEvent(new Event('beforeprint'))`);
    await settled(page);
    assert.ok(Number(await page.evaluate(widest)) < 336, 'a curve that is wider than half a page');
    assert.notEqual(await page.evaluate(background), dark);
    await page.evaluate(`dispatchEvent(new Event('afterprint'))`);
    assert.equal(await page.evaluate(background), dark);
    const pdf = await page.pdf({ path: join(tiny.folder, 'report.pdf'), format: 'A4', printBackground: true });
    assert.ok(pdf.length > 50_000);
    assert.deepEqual(complaints, []);
    await page.close();
  });
});
