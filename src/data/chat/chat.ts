// A conversation as prompt and answer. The default follows the data: the last assistant message is the answer, all before it the prompt.
// paper_compat takes the first exchange only, behind an empty system message where there is none, as the paper's released code does.

import { GleanerError, messageOf } from '../../common/errors.js';
import { clip } from '../errors.js';
import type { Message } from '../rows.js';
import type { ChatTemplate } from './template.js';

export interface SplitChat {
  before: readonly Message[];
  answer: Message | undefined;
}

export function splitChat(messages: readonly Message[], paperCompat: boolean): SplitChat {
  if (!paperCompat) {
    const last = messages.at(-1);
    return last?.role === 'assistant'
      ? { before: messages.slice(0, -1), answer: last }
      : { before: messages, answer: undefined };
  }
  const first = messages[0];
  const system = first?.role === 'system' ? first : { role: 'system', content: '' };
  const place = messages.findIndex(({ role }) => role === 'user');
  const user = messages[place];
  const next = messages[place + 1];
  return {
    before: user === undefined ? [] : [system, user],
    answer: user !== undefined && next?.role === 'assistant' ? next : undefined,
  };
}

/** The texts of a chat: the answer's has what the template puts behind it. */
export interface RenderedChat {
  prompt: string;
  answer: string;
}

/** A text, or why there is none. */
export type Rendered = RenderedChat | { refused: string; why: string };

export function renderChat({ before, answer }: SplitChat, template: ChatTemplate | undefined): Rendered {
  if (template === undefined) {
    // Without markup: one message a line.
    return { prompt: before.map(({ content }) => `${content}\n`).join(''), answer: answer?.content ?? '' };
  }
  try {
    const prompt = template.render(before, { add_generation_prompt: true });
    if (answer === undefined) return { prompt, answer: '' };
    const whole = template.render([...before, answer], { add_generation_prompt: false });
    if (whole.startsWith(prompt)) return { prompt, answer: whole.slice(prompt.length) };
    return {
      refused: 'prompt_not_a_prefix',
      why: 'the template writes the prompt in another way once there is an answer',
    };
  } catch (error) {
    if (error instanceof GleanerError) throw error;
    return { refused: 'refused_by_template', why: clip(messageOf(error)) };
  }
}
