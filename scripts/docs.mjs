// docs/api.md from src/index.ts and its comments. `node scripts/docs.mjs` writes it; --check says whether it is what the code says.
// What is exported without a comment, or named without being exported, is said; with --strict it is an error.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Application, Comment, CommentTag, Converter, LogLevel, normalizePath } from 'typedoc';
import { root } from './tools.mjs';

const document = join(root, 'docs/api.md');

/** The headings, and the folders of src whose exports stand below each. */
const groups = {
  Runs: [
    'recipe/run',
    'recipe/schema',
    'recipe/read',
    'recipe/dry_run',
    'recipe/plan',
    'recipe/',
    'output/',
    'report/',
  ],
  'Models as text': ['recipe/language_model'],
  Data: ['data/'],
  Engine: ['engine/', 'models/'],
  'Methods of your own': ['methods/'],
  'Errors and messages': ['common/'],
};

function groupOf(file) {
  const matches = Object.entries(groups).flatMap(([group, paths]) =>
    paths.filter((path) => file.includes(`src/${path}`)).map((path) => ({ group, length: path.length })),
  );
  return matches.sort((a, b) => b.length - a.length)[0]?.group ?? 'Other';
}

/** Exports stand under the heading of their folder, whatever kind of thing they are. */
function groupByFolder(app) {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const child of project.children ?? []) {
      const id = project.getSymbolIdFromReflection(child);
      const group = groupOf(normalizePath(String(id?.packagePath ?? id?.fileName ?? '')));
      for (const target of [child, ...(child.signatures ?? [])]) {
        if (target.comment === undefined && !(child.signatures && target === child))
          app.logger.validationWarning(`${child.name} has no comment`);
        target.comment ??= new Comment();
        target.comment.blockTags.push(new CommentTag('@group', [{ kind: 'text', text: group }]));
      }
    }
  });
}

const options = {
  plugin: ['typedoc-plugin-markdown'],
  entryPoints: [join(root, 'src/index.ts')],
  tsconfig: join(root, 'tsconfig.json'),
  name: 'API',
  readme: 'none',
  skipErrorChecking: true, // tsc does it
  excludePrivate: true,
  excludeInternal: true,
  disableSources: true,
  sort: ['kind', 'alphabetical'],
  groupOrder: [...Object.keys(groups), '*'],
  requiredToBeDocumented: ['Class', 'Interface', 'TypeAlias', 'Function', 'Method', 'Accessor'],
  validation: { notExported: true, invalidLink: true, invalidPath: true, notDocumented: true },
  treatValidationWarningsAsErrors: process.argv.includes('--strict'),
  intentionallyNotExported: ['errorCodes', 'Parsed', 'recipeSchema', 'Section', 'train', 'options', 'OptimizerInput'],
  logLevel: LogLevel.Warn,
  outputFileStrategy: 'modules',
  entryFileName: 'api',
  hidePageHeader: true,
  hideBreadcrumbs: true,
  useCodeBlocks: true,
  expandObjects: true,
  parametersFormat: 'table',
  interfacePropertiesFormat: 'table',
  classPropertiesFormat: 'table',
  typeAliasPropertiesFormat: 'table',
  typeDeclarationFormat: 'table',
};

const opening = `<!-- Written by scripts/docs.mjs from the comments in src; change them there. -->

`;

/** The page as the code has it now; undefined: what is wrong has been said. */
async function page() {
  const folder = mkdtempSync(join(tmpdir(), 'gleaner-api-'));
  try {
    const app = await Application.bootstrapWithPlugins({ ...options, out: folder });
    groupByFolder(app);
    const project = await app.convert();
    if (!project) return undefined;
    app.validate(project);
    if (app.logger.hasErrors()) return undefined;
    await app.generateOutputs(project);
    return `${opening}${readFileSync(join(folder, 'api.md'), 'utf8').trimEnd()}\n`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const text = await page();
if (text === undefined) process.exitCode = 1;
else if (!process.argv.includes('--check')) writeFileSync(document, text);
else if (readFileSync(document, 'utf8') !== text) {
  process.stderr.write('docs/api.md is not what the code says: node scripts/docs.mjs\n');
  process.exitCode = 1;
}
