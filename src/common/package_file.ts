// Files of this package beside the code: found from its root, since code that is bundled may lie in any file of dist/.

import { existsSync } from 'node:fs';

let root: URL | undefined;

/** `path` below the folder that holds package.json. */
export function packageFile(path: string): URL {
  root ??= rootAbove(new URL('.', import.meta.url));
  return new URL(path, root);
}

function rootAbove(folder: URL): URL {
  if (existsSync(new URL('package.json', folder))) return folder;
  const parent = new URL('..', folder);
  if (parent.href === folder.href) throw new Error(`no package.json above ${import.meta.url}`);
  return rootAbove(parent);
}
