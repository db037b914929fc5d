// Jinja for templates that come with a model, which nobody here has read. The library's interpreter gives them no way out: values are of its own
// kinds, attributes come from maps. But nothing ends their loops. Here every step costs what its values weigh, and steps, texts and lists have
// limits that grow with the messages; the same template and messages reach the same limit on any machine.

import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja';
import { strftime } from './strftime.js';

/** What we use of the library, whose own types cannot be found by TypeScript's NodeNext. */
interface Node {
  type: string;
}
interface Value {
  type: string;
  value?: unknown;
  toString(): string;
}
interface Scope {
  set(name: string, value: unknown): Value;
}
const newScope: new () => Scope = Environment;
const LibraryInterpreter: new (
  scope: Scope,
) => {
  evaluate(node: Node | undefined, scope: Scope): Value;
  run(program: Node): Value;
} = Interpreter;

/** A template asks for more than its messages warrant. */
export class TemplateLimit extends Error {}

const mostSource = 2 ** 17;
/** The library's search for `{% generation %}` takes the square of a run of white space. */
const mostSpace = 2000;
const mostItems = 2 ** 17;
const mostDepth = 400;
const mostListDepth = 100;
const baseText = 2 ** 20;
/** In steps; one takes about a microsecond. */
const baseWork = 2 ** 19;

export interface CompiledTemplate {
  /** `inputSize`: about the characters of the messages; limits grow with it. */
  render(variables: Readonly<Record<string, unknown>>, inputSize: number): string;
}

export function compileTemplate(source: string): CompiledTemplate {
  if (source.length > mostSource)
    throw new TemplateLimit(`${source.length} characters; at most ${mostSource} are read`);
  const space = new RegExp(`\\s{${mostSpace}}`).exec(source);
  if (space !== null) throw new TemplateLimit(`${mostSpace} characters of white space in a row`);
  const program: Node = parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
  return {
    render(variables, inputSize) {
      const environment = new newScope();
      const all = { ...constants, raise_exception: raise, range, strftime_now: strftime, ...variables };
      for (const [name, value] of Object.entries(all)) environment.set(name, value);
      const interpreter = new BoundedInterpreter(environment, inputSize, source.length);
      return String(interpreter.run(program).value);
    },
  };
}

const constants = { true: true, True: true, false: false, False: false, none: null, None: null };

function raise(message: unknown): never {
  throw new Error(String(message).slice(0, 1000));
}

/** Python's range, for as many items as a list may have. */
function range(start: unknown, stop?: unknown, step: unknown = 1): number[] {
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  if (typeof from !== 'number' || typeof to !== 'number' || typeof step !== 'number' || step === 0)
    throw new Error('range() takes whole numbers, and a step that is not 0');
  const length = Math.max(0, Math.ceil((to - from) / step));
  if (!(length <= mostItems)) throw new TemplateLimit(`range() of ${length} items; at most ${mostItems} are allowed`);
  return Array.from({ length }, (_, place) => from + place * step);
}

/** A value: how long it is as text, near enough, how many values are in it, how deep. */
interface Weight {
  characters: number;
  values: number;
  depth: number;
}
const small: Weight = { characters: 6, values: 1, depth: 0 };

/** A node whose value is known. */
class Known {
  readonly type = 'Known';
  constructor(readonly value: Value) {}
}

class BoundedInterpreter extends LibraryInterpreter {
  readonly #weights = new WeakMap<Value, Weight>();
  readonly #guarded = new WeakSet<Value>();
  readonly #mostText: number;
  #work: number;
  #depth = 0;

  constructor(
    environment: Scope,
    inputSize: number,
    private readonly sourceSize: number,
  ) {
    super(environment);
    this.#mostText = baseText + 8 * inputSize;
    this.#work = baseWork + 16 * inputSize;
    // Private in the library's types. A block's text is limited while it grows.
    const block = (statements: readonly Node[], scope: Scope): Value => this.#block(statements, scope);
    Reflect.set(this, 'evaluateBlock', block);
  }

  override evaluate(node: Node | undefined, environment: Scope): Value {
    if (node === undefined || node === null) return super.evaluate(node, environment);
    if (node instanceof Known) return node.value;
    this.#spend(1);
    if (this.#depth >= mostDepth) throw new TemplateLimit(`more than ${mostDepth} levels of nesting and recursion`);
    this.#depth += 1;
    try {
      // The first item of an empty list is undefined, and no value, in the library.
      const ready = this.#prepared(node, environment);
      const value =
        (ready instanceof Known ? ready.value : super.evaluate(ready, environment)) ??
        new newScope().set('none', undefined);
      this.#check(value);
      return value;
    } finally {
      this.#depth -= 1;
    }
  }

  /** Operands whose size decides what a node costs are computed first and paid for; then the node is, with them in place. */
  #prepared(node: Node, environment: Scope): Node {
    const operand = (name: string): Value => this.evaluate(nodeIn(node, name), environment);
    switch (node.type) {
      case 'BinaryExpression': {
        const operator = textIn(nodeIn(node, 'operator'), 'value') ?? '';
        if (operator === 'and' || operator === 'or') return node;
        const [left, right] = [operand('left'), operand('right')];
        this.#payCall(operator, right, [left]);
        return { ...node, ...{ left: new Known(left), right: new Known(right) } };
      }
      case 'FilterExpression':
        return { ...node, ...this.#filter(operand('operand'), nodeIn(node, 'filter'), environment) };
      case 'FilterStatement': {
        const text = this.#block(nodesIn(node, 'body'), environment);
        const inner = this.#filter(text, nodeIn(node, 'filter'), environment);
        return { type: 'FilterExpression', ...inner };
      }
      case 'MemberExpression': {
        const object = operand('object');
        this.#spendText(nodeIn(node, 'property')?.type === 'SliceExpression' ? this.#weight(object).characters : 0);
        const value = super.evaluate({ ...node, ...{ object: new Known(object) } }, environment);
        if (value.type === 'FunctionValue') this.#guard(value, object, textIn(nodeIn(node, 'property'), 'value') ?? '');
        return new Known(value);
      }
      case 'For': {
        const iterable = nodeIn(node, 'iterable');
        const select = iterable?.type === 'SelectExpression';
        const list = this.evaluate(select ? nodeIn(iterable, 'lhs') : iterable, environment);
        this.#spend(8 * countOf(list.value)); // a scope for each
        return { ...node, ...{ iterable: select ? { ...iterable, lhs: new Known(list) } : new Known(list) } };
      }
      case 'Macro':
      case 'CallStatement':
        this.#spend(this.sourceSize / 16); // the library reads its body through
        return node;
      default:
        return node;
    }
  }

  /** An operand and its filter, computed but for the filter itself. */
  #filter(operand: Value, filter: Node | undefined, environment: Scope): object {
    const call = filter?.type === 'CallExpression' ? filter : undefined;
    const name = textIn(call === undefined ? filter : nodeIn(call, 'callee'), 'value') ?? '';
    const values: Value[] = [];
    const known = (node: Node | undefined): Known => {
      const value = this.evaluate(node, environment);
      values.push(value);
      return new Known(value);
    };
    const args = nodesIn(call, 'args').map((node): object => {
      if (node.type === 'KeywordArgumentExpression') return { ...node, value: known(nodeIn(node, 'value')) };
      if (node.type === 'SpreadExpression' || node.type === 'KeywordSpreadExpression')
        return { ...node, argument: known(nodeIn(node, 'argument')) };
      const value = known(node);
      return node.type === 'StringLiteral' ? node : value; // selectattr looks at the node
    });
    this.#payCall(name, operand, values);
    return { operand: new Known(operand), filter: call === undefined ? filter : { ...call, args } };
  }

  /** Methods are paid for when they are called. */
  #guard(method: Value, object: Value, name: string): void {
    const { value: call } = method;
    if (this.#guarded.has(method) || typeof call !== 'function') return;
    this.#guarded.add(method);
    const paid = (args: Value[], scope: Scope): Value => {
      this.#payCall(name, object, args);
      return call(args, scope);
    };
    Reflect.set(method, 'value', paid);
  }

  /** What a filter, a method or an operator may cost and make. */
  #payCall(name: string, operand: Value, args: readonly Value[]): void {
    const { characters, values, depth } = this.#weight(operand);
    const weights = args.map((arg) => this.#weight(arg).characters);
    const text = weights.reduce((sum, length) => sum + length, 0);
    this.#spendText(characters + text);
    switch (name) {
      case 'in':
      case 'not in':
      case 'split':
        // A search may compare each place of the one with all of the other.
        if (typeof operand.value === 'string') this.#spendText((characters * text) / 4);
        return;
      case 'replace': {
        const [old = 0, put = 0] = weights;
        this.#spendText((characters * old) / 4);
        this.#fits((characters / Math.max(1, old) + 1) * put);
        return;
      }
      case 'join':
        this.#fits(Math.max(values, countOf(operand.value)) * text);
        return;
      case 'indent': {
        const lines = String(operand.value).split('\n').length;
        this.#fits(lines * largestNumber(args));
        return;
      }
      case 'tojson':
        this.#fits(values * (depth + 1) * largestNumber(args) + values * text);
        return;
      case 'sort':
      case 'dictsort':
      case 'map':
      case 'selectattr':
      case 'rejectattr':
        this.#spend(values * (2 + text / 4));
        return;
    }
  }

  #block(statements: readonly Node[], environment: Scope): Value {
    let text = '';
    for (const statement of statements) {
      const value = this.evaluate(statement, environment);
      if (value.type === 'NullValue' || value.type === 'UndefinedValue') continue;
      this.#spendText(this.#weight(value).characters);
      text += value.toString();
      if (text.length > this.#mostText) this.#tooLong(text.length);
    }
    return newText(text);
  }

  #check(value: Value): void {
    const { characters, depth } = this.#weight(value);
    if (typeof value.value === 'string') this.#spendText(characters);
    if (characters > this.#mostText) this.#tooLong(characters);
    if (typeof value.value !== 'string' && countOf(value.value) > mostItems)
      throw new TemplateLimit(`a list of more than ${mostItems} items`);
    if (depth > mostListDepth) throw new TemplateLimit(`lists in lists, ${mostListDepth} deep`);
  }

  /** Lists and mappings never change, namespaces do: what is in those is looked up each time. */
  #weight(value: Value): Weight {
    if (typeof value.value === 'string') return { characters: value.value.length, values: 1, depth: 0 };
    const known = this.#weights.get(value);
    if (known !== undefined) return known;
    const children = childrenOf(value.value);
    if (children === undefined) return small;
    this.#spend(children.length);
    const weight = { characters: 2, values: 1, depth: 1 };
    for (const [key, child] of children) {
      if (child.type === 'NamespaceValue') throw new TemplateLimit('a namespace inside another value');
      const inner = this.#weight(child);
      weight.characters += key.length + inner.characters + 2;
      weight.values += inner.values;
      weight.depth = Math.max(weight.depth, inner.depth + 1);
    }
    if (value.type !== 'NamespaceValue') this.#weights.set(value, weight);
    return weight;
  }

  #spend(steps: number): void {
    this.#work -= steps;
    if (!(this.#work >= 0)) throw new TemplateLimit('more steps than its messages warrant: does a loop end?');
  }

  #spendText(characters: number): void {
    this.#spend(characters / 64);
  }

  /** Before a text of that length is made. */
  #fits(characters: number): void {
    if (!(characters <= 4 * this.#mostText)) this.#tooLong(characters);
  }

  #tooLong(characters: number): never {
    throw new TemplateLimit(`a text of ${Math.ceil(characters)} characters; at most ${this.#mostText} are allowed`);
  }
}

/** The library's text value, whose class it does not export. */
const TextValue = new newScope().set('text', '').constructor;
function newText(text: string): Value {
  return Reflect.construct(TextValue, [text]);
}

function nodeIn(node: Node | undefined, name: string): Node | undefined {
  const inner: unknown = node === undefined ? undefined : Reflect.get(node, name);
  return isNode(inner) ? inner : undefined;
}

function nodesIn(node: Node | undefined, name: string): Node[] {
  const inner: unknown = node === undefined ? undefined : Reflect.get(node, name);
  return Array.isArray(inner) ? inner.filter(isNode) : [];
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string';
}

function textIn(node: Node | undefined, name: string): string | undefined {
  const inner: unknown = node === undefined ? undefined : Reflect.get(node, name);
  return typeof inner === 'string' ? inner : undefined;
}

function countOf(value: unknown): number {
  if (Array.isArray(value)) return value.length;
  return value instanceof Map ? value.size : typeof value === 'string' ? value.length : 0;
}

/** The values in a list, or in a mapping with their keys. */
function childrenOf(value: unknown): [key: string, child: Value][] | undefined {
  if (Array.isArray(value)) return value.filter(isNode).map((child) => ['', child]);
  return value instanceof Map ? [...value].filter(([, child]) => isNode(child)) : undefined;
}

function largestNumber(values: readonly Value[]): number {
  return values.reduce((largest, { value }) => {
    const inner =
      typeof value === 'number' ? Math.abs(value) : largestNumber((childrenOf(value) ?? []).map(([, child]) => child));
    return Math.max(largest, inner);
  }, 0);
}
