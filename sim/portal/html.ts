import { html as taggedHtml } from 'hono/html'
import type { HtmlEscapedString } from 'hono/utils/html'

/** Text that is markup already. */
export type Html = HtmlEscapedString

/** What can stand in a template: texts are escaped, and what is left out leaves nothing. */
export type Fragment = Html | string | number | false | null | undefined | readonly Fragment[]

/**
 * Markup with everything in it escaped, as text and in quoted attributes.
 *
 * @example
 * ```ts
 * html`<td title="${deviceId}">${deviceId}</td>`
 * ```
 */
export function html(strings: TemplateStringsArray, ...values: readonly Fragment[]): Html {
  // Only promises make the answer a promise, and none is a fragment.
  return taggedHtml(strings, ...values) as Html
}
