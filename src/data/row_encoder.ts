// A row's prompt and response as ids, before anything is cut. They are tokenised apart; BOS and EOS are put in here and nowhere else.

import { renderChat, splitChat } from './chat/chat.js';
import { type ChatTemplate, chatTemplate, type TemplateName } from './chat/template.js';
import { dataError, show } from './errors.js';
import { demonstrationOf, type Message, type Row } from './rows.js';
import { maxTextLength, type Tokenizer } from './tokenizer/tokenizer.js';
import type { Lengths } from './truncate.js';

export interface TokenizeSettings extends Lengths {
  template: TemplateName;
  /** auto: where the tokenizer puts one, before prompts that are no chat. */
  bos: 'auto' | 'always' | 'never';
  eos_token_id: number;
  /** Of the model: an id that is not below it is an error. */
  vocab: number;
}

export interface Parts {
  prompt_ids: number[];
  response_ids: number[];
  /** What ends an answer of this row (paper_compat). */
  tail: readonly number[];
}

export interface Prompt {
  prompt: string;
  prompt_ids: number[];
}

export interface Dropped {
  refused: string;
  why: string;
}

export class RowEncoder {
  #template: ChatTemplate | undefined | 'unread' = 'unread';

  /** Without a tokenizer only rows of ids can be read. */
  constructor(
    private readonly tokenizer: Tokenizer | undefined,
    private readonly settings: TokenizeSettings,
  ) {
    const { eos_token_id, vocab, bos } = settings;
    if (eos_token_id >= vocab)
      throw dataError(`the EOS id ${eos_token_id} is not below the model's vocabulary of ${vocab}`, foreignTokenizer);
    if (bos === 'always' && tokenizer !== undefined && tokenizer.bos_token_id === undefined)
      throw dataError(`${tokenizer.path}: bos: always, but this tokenizer has no BOS`, 'Set bos: auto.');
  }

  encode(row: Row): Parts | Dropped {
    const parts = this.#parts(row);
    if ('refused' in parts) return parts;
    if (parts.prompt_ids.length === 0) return emptyPrompt;
    this.#checkIds(row.id, parts.prompt_ids);
    this.#checkIds(row.id, parts.response_ids);
    return parts;
  }

  /** What stands before the (last) response. */
  encodePrompt(row: Row): Prompt | Dropped {
    const found = this.#prompt(row);
    if ('refused' in found) return found;
    if (found.prompt_ids.length === 0) return emptyPrompt;
    this.#checkIds(row.id, found.prompt_ids);
    return found;
  }

  #parts(row: Row): Parts | Dropped {
    const { eos_token_id } = this.settings;
    const tail = [eos_token_id];
    switch (row.kind) {
      case 'ids':
        if (row.response_ids.length === 0) return emptyResponse;
        return { prompt_ids: [...row.prompt_ids], response_ids: [...row.response_ids], tail };
      case 'prompt_response': {
        const answer = this.#answer(row.id, row.prompt, row.response);
        if (answer.length === 0) return emptyResponse;
        return {
          prompt_ids: this.#withBos(this.#encode(row.id, row.prompt)),
          response_ids: this.#withEos(answer),
          tail,
        };
      }
      case 'text': {
        const ids = this.#withBos(this.#encode(row.id, row.text));
        if (ids.length < 2) return emptyResponse;
        return { prompt_ids: ids.slice(0, 1), response_ids: this.#withEos(ids.slice(1)), tail };
      }
      case 'messages':
        return this.#chat(row.id, row.messages);
      case 'preference':
        return this.#parts(demonstrationOf(row));
      case 'prompt':
        throw dataError(
          `row ${row.id}: a prompt without a response`,
          'Training needs a response; `gleaner generate` does not.',
        );
      default:
        return row satisfies never;
    }
  }

  #chat(id: string, messages: readonly Message[]): Parts | Dropped {
    const { paper_compat, eos_token_id } = this.settings;
    const split = splitChat(messages, paper_compat);
    if (split.answer === undefined)
      return { refused: 'no_assistant_answer', why: 'its last message is not the assistant’s' };
    if (split.answer.content === '') return emptyResponse;
    const template = this.#chatTemplate(id);
    const chat = renderChat(split, template);
    if ('refused' in chat) return chat;
    const prompt_ids = this.#chatPrompt(id, chat.prompt, template);
    const answer = this.#answer(id, chat.prompt, chat.answer);
    // The template's own EOS, where there is one; what stands behind it is white space that no model writes.
    const end = template === undefined ? 0 : this.#ownEnd(answer);
    if (answer.length === 0 || end === 1) return emptyResponse;
    const response_ids = this.#withEos(paper_compat || end === 0 ? answer : answer.slice(0, end));
    return { prompt_ids, response_ids, tail: end === 0 ? [eos_token_id] : response_ids.slice(end - 1) };
  }

  #prompt(row: Row): Prompt | Dropped {
    switch (row.kind) {
      case 'ids':
        return { prompt: this.tokenizer?.decode(row.prompt_ids) ?? '', prompt_ids: [...row.prompt_ids] };
      case 'prompt':
      case 'prompt_response':
        return { prompt: row.prompt, prompt_ids: this.#withBos(this.#encode(row.id, row.prompt)) };
      case 'text': {
        const prompt_ids = this.#withBos(this.#encode(row.id, row.text)).slice(0, 1);
        return { prompt: this.#needed(row.id).decode(prompt_ids), prompt_ids };
      }
      case 'preference':
        return this.#prompt(demonstrationOf(row));
      case 'messages': {
        const { before } = splitChat(row.messages, this.settings.paper_compat);
        const template = this.#chatTemplate(row.id);
        if (before.length === 0) return emptyPrompt;
        const chat = renderChat({ before, answer: undefined }, template);
        if ('refused' in chat) return chat;
        return { prompt: chat.prompt, prompt_ids: this.#chatPrompt(row.id, chat.prompt, template) };
      }
      default:
        return row satisfies never;
    }
  }

  /** A template writes BOS itself where its model wants one. */
  #chatPrompt(id: string, prompt: string, template: ChatTemplate | undefined): number[] {
    const ids = this.#encode(id, prompt);
    return template === undefined || this.settings.bos === 'always' ? this.#withBos(ids) : ids;
  }

  #withBos(ids: number[]): number[] {
    const { bos } = this.settings;
    const id = this.tokenizer?.bos_token_id;
    const wanted = bos === 'always' || (bos === 'auto' && this.tokenizer?.adds_bos === true);
    return wanted && id !== undefined && ids[0] !== id ? [id, ...ids] : ids;
  }

  /** The released code appends EOS behind whatever is there. */
  #withEos(ids: number[]): number[] {
    const { eos_token_id, paper_compat } = this.settings;
    return ids.at(-1) === eos_token_id && !paper_compat ? ids : [...ids, eos_token_id];
  }

  /** Length of an answer up to and with the EOS behind which only white space stands; 0: there is none. */
  #ownEnd(ids: readonly number[]): number {
    const end = ids.lastIndexOf(this.settings.eos_token_id) + 1;
    const rest = this.tokenizer?.decode(ids.slice(end), { skip_special_tokens: false }) ?? '';
    return rest.trim() === '' ? end : 0;
  }

  /** The answer as it goes on from its prompt; the released code tokenises it as a text of its own. */
  #answer(id: string, before: string, text: string): number[] {
    const tokenizer = this.#needed(id, text);
    return this.settings.paper_compat ? tokenizer.encode(text) : tokenizer.encodeAfter(before, text);
  }

  #encode(id: string, text: string): number[] {
    return this.#needed(id, text).encode(text);
  }

  #needed(id: string, text = ''): Tokenizer {
    if (text.length > maxTextLength)
      throw dataError(
        `row ${id}: ${text.length} characters in one text: at most ${maxTextLength} are tokenised at once`,
        'Split the row.',
      );
    if (this.tokenizer !== undefined) return this.tokenizer;
    throw dataError(
      `row ${id} holds text, and there is no tokenizer`,
      'Set tokenizer: DIR, or give rows of prompt_ids and response_ids.',
    );
  }

  #chatTemplate(id: string): ChatTemplate | undefined {
    if (this.#template !== 'unread') return this.#template;
    const tokenizer = this.#needed(id);
    const eosToken = tokenizer.token(this.settings.eos_token_id) ?? tokenizer.special_tokens.eos_token ?? '';
    this.#template = chatTemplate(this.settings.template, tokenizer, eosToken);
    return this.#template;
  }

  #checkIds(id: string, ids: readonly number[]): void {
    const wrong = ids.find((token) => token >= this.settings.vocab);
    if (wrong === undefined) return;
    const token = this.tokenizer?.token(wrong);
    throw dataError(
      `row ${id}: the token id ${wrong}${token === undefined ? '' : ` (${show(token)})`} is not below the model's vocabulary of ${this.settings.vocab}`,
      foreignTokenizer,
    );
  }
}

const foreignTokenizer = 'The tokenizer does not belong to the model: see model and tokenizer.';
const emptyResponse: Dropped = { refused: 'empty_response', why: 'no token in its response' };
const emptyPrompt: Dropped = { refused: 'empty_prompt', why: 'no token in its prompt' };
