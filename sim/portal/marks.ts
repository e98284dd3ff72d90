import type { X509Certificate } from 'node:crypto'
import { commonNameOf } from '../pki/certificate.ts'
import { thumbprint256 } from '../pki/thumbprint.ts'
import { html, type Html } from './html.ts'
import { dateAndTime, shortened } from './words.ts'

/** A state in one word; the word says it, the colour only helps. */
export function state(word: string, tone: 'good' | 'bad' | 'plain'): Html {
  return html`<span class="state ${tone}">${word}</span>`
}

/** Whether something is enabled. */
export function enabled(status: 'enabled' | 'disabled'): Html {
  return state(status, status === 'enabled' ? 'good' : 'bad')
}

/** A thumbprint, shortened; all of it for the pointer, for copying and for screen readers' users who ask. */
export function thumbprint(value: string | null | undefined): Html {
  if (value === null || value === undefined || value === '') return html`<span class="none">none</span>`
  return html`<code title="${value}">${shortened(value)}</code>`
}

/** An instant, to the minute; exactly for machines. */
export function instant(at: number): Html {
  return html`<time datetime="${new Date(at).toISOString()}">${dateAndTime(at)}</time>`
}

/** A certificate in few words: its name, thumbprint and end. */
export function certificate(of: X509Certificate | undefined): Html {
  if (of === undefined) return html`<span class="none">none</span>`
  return html`<span class="certificate">
    <b>${commonNameOf(of) ?? of.subject}</b> ${thumbprint(thumbprint256(of))}
    <span>until ${instant(Date.parse(of.validTo))}</span>
  </span>`
}

/** Where there is nothing. */
export const nothing = html`<span class="none">none</span>`
