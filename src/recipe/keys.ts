// The schema's keys, for the nearest one to a wrong one and for completion on the command line.

import { z } from 'zod';
import { recipeSchema } from './schema.js';

export interface RecipeKey {
  /** As `--set` takes it: train.optimizer.name. */
  key: string;
  /** The words that it may be; empty where it is a number, a list or free text. */
  values: string[];
  /** A path may stand here. */
  path: boolean;
}

/** The keys of the section at `path`; of all alternatives where a section has several forms. */
export function keysAt(schema: z.core.$ZodType, path: readonly PropertyKey[]): string[] {
  const inner = unwrapped(schema);
  const [first, ...rest] = path;
  if (inner instanceof z.ZodObject) {
    if (first === undefined) return Object.keys(inner.shape);
    const next: unknown = inner.shape[String(first)];
    return next instanceof z.ZodType ? keysAt(next, rest) : [];
  }
  if (inner instanceof z.ZodUnion) return inner.options.flatMap((option) => keysAt(option, path));
  return [];
}

/** Every key that holds a value. */
export function recipeKeys(): RecipeKey[] {
  const found = new Map<string, RecipeKey>();
  walk(recipeSchema, [], found);
  return [...found.values()];
}

function walk(schema: z.core.$ZodType, path: readonly string[], found: Map<string, RecipeKey>): void {
  const inner = unwrapped(schema);
  if (inner instanceof z.ZodObject) {
    for (const [name, next] of Object.entries(inner.shape))
      if (next instanceof z.ZodType) walk(next, [...path, name], found);
    return;
  }
  if (inner instanceof z.ZodUnion && inner.options.some((option) => unwrapped(option) instanceof z.ZodObject)) {
    for (const option of inner.options) walk(option, path, found);
    return;
  }
  const key = path.join('.');
  const before = found.get(key);
  const values = [...new Set([...(before?.values ?? []), ...wordsOf(schema)])];
  found.set(key, { key, values, path: (before?.path ?? true) && isText(schema) });
}

/** The literal values of a key, null and true among them. */
function wordsOf(schema: z.core.$ZodType): string[] {
  if (schema instanceof z.ZodNullable) return [...wordsOf(schema.unwrap()), 'null'];
  const outer = schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional;
  if (outer) return wordsOf(schema.unwrap());
  if (schema instanceof z.ZodEnum) return schema.options.map(String);
  if (schema instanceof z.ZodLiteral) return [...schema.values].map(String);
  if (schema instanceof z.ZodBoolean) return ['true', 'false'];
  if (schema instanceof z.ZodUnion) return schema.options.flatMap((option) => wordsOf(option));
  return [];
}

function isText(schema: z.core.$ZodType): boolean {
  const inner = unwrapped(schema);
  if (inner instanceof z.ZodUnion) return inner.options.some((option) => isText(option));
  return inner instanceof z.ZodString;
}

function unwrapped(schema: z.core.$ZodType): z.core.$ZodType {
  if (
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodOptional
  ) {
    return unwrapped(schema.unwrap());
  }
  return schema instanceof z.ZodPipe ? unwrapped(schema.out) : schema;
}
