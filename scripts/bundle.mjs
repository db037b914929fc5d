// dist/: the command, the library and the worker bundled, so that a start reads a handful of files; types from tsc; the licences of the
// packages that went in. What src imports with `import()` stays in chunks of its own and is read when it is needed.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { npmBin, root, run, SetupError } from './tools.mjs';

/** Found by name at run time: a worker file of its own, assets, and what only the sources need. */
const external = ['piscina', 'tsx'];

// CommonJS packages ask for `require`, which a module lacks.
const banner = "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);";

const licenceFile = /^(licen[cs]e|copying|notice)/i;

/** The folder of a package below node_modules, of a file in it: node_modules/a/node_modules/@b/c/d.js → node_modules/a/node_modules/@b/c. */
const packageOf = (path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0];

function licences(inputs) {
  const folders = [...new Set(inputs.map(packageOf).filter((folder) => folder !== undefined))].sort();
  const parts = folders.map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
    const texts = readdirSync(join(root, folder))
      .filter((file) => licenceFile.test(file))
      .map((file) => readFileSync(join(root, folder, file), 'utf8').trim());
    return [`${name} ${version} (${license})`, ...texts].join('\n\n');
  });
  return `dist/ holds code of these packages.\n\n${parts.join(`\n\n${'-'.repeat(80)}\n\n`)}\n`;
}

async function types() {
  const args = ['-p', 'tsconfig.build.json', '--emitDeclarationOnly'];
  const { code, output } = await run(process.execPath, [npmBin('typescript/bin/tsc'), ...args], { quiet: true });
  if (code !== 0) throw new SetupError(`src does not compile:\n${output.trimEnd()}`);
}

async function code() {
  const { build } = await import(pathToFileURL(npmBin('esbuild/lib/main.js')).href); // npm may have brought it a moment ago
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: ['src/cli/main.ts', 'src/index.ts', 'src/data/import/worker.ts'],
    outbase: 'src',
    outdir: 'dist',
    chunkNames: 'chunks/[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    minifyWhitespace: true,
    sourcemap: 'linked',
    legalComments: 'none', // the licences stand in a file
    banner: { js: banner },
    external,
    metafile: true,
    logLevel: 'silent',
    plugins: [onlyEnglish],
  }).catch((error) => {
    throw new SetupError(`src cannot be bundled:\n${error.message}`);
  });
  mkdirSync(join(root, 'dist'), { recursive: true });
  writeFileSync(join(root, 'dist/THIRD_PARTY_LICENSES.txt'), licences(Object.keys(metafile.inputs)));
}

/** zod brings its messages in 50 languages, half of its code; ours are English. */
const onlyEnglish = {
  name: 'only-english',
  setup(build) {
    build.onLoad({ filter: /node_modules\/zod\/v4\/locales\/index\.js$/ }, () => ({
      contents: "export { default as en } from './en.js';",
    }));
  },
};

export async function bundle() {
  await Promise.all([types(), code()]);
}
