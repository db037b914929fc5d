// Chat templates: messages to the text that a model reads. A tokenizer's own template is rendered as transformers renders it (Jinja with
// trim_blocks and lstrip_blocks, the same variables); where there is none, one of the layouts below stands in.

import { messageOf } from '../../common/errors.js';
import { clip, dataError } from '../errors.js';
import type { Message } from '../rows.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { type CompiledTemplate, compileTemplate, TemplateLimit } from './bounded_jinja.js';

/** How a chat becomes text; auto: the tokenizer's own template, else zephyr's layout. */
export type TemplateName = 'auto' | 'none' | 'zephyr' | 'chatml';

/** As zephyr-7b-beta's template, but a role that it would leave out in silence is refused. */
const zephyr = `{% for message in messages %}
{% if message['role'] not in ['system', 'user', 'assistant'] %}
{{ raise_exception('the zephyr layout has no role ' + message['role']) }}
{% endif %}
{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token }}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}`;

const chatml = `{% for message in messages %}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' }}
{% endfor %}
{% if add_generation_prompt %}
{{ '<|im_start|>assistant' }}
{% endif %}`;

const layouts = { zephyr, chatml };

export class ChatTemplate {
  readonly #template: CompiledTemplate;

  constructor(
    readonly source: string,
    /** bos_token, eos_token, …: texts that the template may put in. */
    private readonly variables: Readonly<Record<string, string>>,
    /** Named in errors. */
    private readonly where: string,
  ) {
    try {
      this.#template = compileTemplate(source);
    } catch (error) {
      throw dataError(`${where}: the chat template cannot be read: ${reason(error)}`, hint, error);
    }
  }

  /** Throws what the template raises: a conversation that it refuses. A template that asks for too much is a GleanerError. */
  render(messages: readonly Message[], { add_generation_prompt }: { add_generation_prompt: boolean }): string {
    // Absent values are None in transformers; templates ask `tools is none`.
    const absent = { tools: null, documents: null };
    const plain = messages.map(({ role, content }) => ({ role, content }));
    const size = plain.reduce((sum, { role, content }) => sum + role.length + content.length + 256, 0);
    const variables = { ...absent, ...this.variables, messages: plain, add_generation_prompt };
    try {
      return this.#template.render(variables, size);
    } catch (error) {
      if (!(error instanceof TemplateLimit || error instanceof RangeError)) throw error;
      throw dataError(`${this.where}: the chat template was stopped: ${reason(error)}`, hint, error);
    }
  }
}

const hint = 'Set data.template: zephyr or chatml.';

/** RangeError: the parser or the interpreter ran out of stack, or a text out of length. TypeError: the parser read past the end. */
function reason(error: unknown): string {
  if (error instanceof TypeError) return 'it ends in the middle of something';
  return error instanceof RangeError ? `nested too deep, or too long (${error.message})` : clip(messageOf(error));
}

/** undefined: template none. `eosToken` ends the turns of our own layouts. */
export function chatTemplate(name: TemplateName, tokenizer: Tokenizer, eosToken: string): ChatTemplate | undefined {
  if (name === 'none') return undefined;
  if (name === 'auto' && tokenizer.chat_template !== undefined)
    return new ChatTemplate(tokenizer.chat_template.source, tokenizer.special_tokens, tokenizer.chat_template.file);
  const variables = { ...tokenizer.special_tokens, eos_token: eosToken };
  return new ChatTemplate(layouts[name === 'auto' ? 'zephyr' : name], variables, `template ${name}`);
}
