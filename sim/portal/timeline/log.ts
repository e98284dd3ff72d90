import { html, type Html } from '../html.ts'
import { clock } from '../words.ts'
import type { DeviceHistory, TimelineEntry } from './device-history.ts'

/** How many entries are shown. */
const shown = 100

/** What has happened to a device, the last thing first. */
export function log(history: DeviceHistory): Html {
  const entries = history.entries.slice(-shown).reverse()
  if (entries.length === 0) return html`<p class="none">Nothing since the portal was started.</p>`
  return html`<ol class="log">
    ${entries.map(
      ({ at, kind, tone, title, detail }) =>
        html`<li class="entry ${kind} ${tone}">
          <time datetime="${new Date(at).toISOString()}">${clock(at)}</time>
          <div>
            <p>${title}</p>
            ${detail !== '' && html`<p class="detail">${detail}</p>`}
          </div>
        </li>`,
    )}
  </ol>`
}

/** The last thing that is worth being read out: what repeats by itself is not. */
export function lastWords(history: DeviceHistory): string {
  const worth = (entry: TimelineEntry): boolean => entry.kind !== 'messages'
  return history.entries.findLast(worth)?.title ?? ''
}
