import { html, type Fragment, type Html } from '../html.ts'
import { clock } from '../words.ts'
import type { DeviceHistory, TimelineEntry } from './device-history.ts'

/** How much of the past the chart shows, in milliseconds. */
const shownMs = 120_000
const lanes = { generations: 8, marks: 54, messages: 96, height: 160, messagesHeight: 44 }

/**
 * The last two minutes of a device as an SVG: which generation was connected, registrations and rolls, messages a
 * second. Positions are in per cent of the width, so that it is as wide as the page. The log beside it says the same
 * in words.
 *
 * @param now - milliseconds since 1970, the right edge
 */
export function chart(history: DeviceHistory, now: number): Html {
  const from = now - shownMs
  const x = (at: number): number => Number(((100 * (Math.max(at, from) - from)) / shownMs).toFixed(2))
  const marks = history.entries.filter(
    ({ kind, at }) => (kind === 'registration' || kind === 'roll') && at >= from,
  )
  return html`<svg
    class="chart"
    role="img"
    aria-label="${inWords(history, marks, now)}"
    height="${lanes.height}"
  >
    ${history.spans
      .filter(({ until }) => (until ?? now) >= from)
      .map(({ thumbprint, from: began, until }) => {
        const number = history.generation(thumbprint)?.number ?? 0
        const width = Number((x(until ?? now) - x(began)).toFixed(2))
        return html`<svg x="${x(began)}%" y="${lanes.generations}" width="${width}%" height="30">
          <rect class="generation g${number % 4}" width="100%" height="30" rx="4"></rect>
          <text class="generation-name" x="8" y="20">${number === 0 ? 'key' : `generation ${number}`}</text>
        </svg>`
      })}
    ${marks.map((entry) => mark(entry, x(entry.at)))} ${messageBars(history, from, now, x)}
    <line class="axis" x1="0" x2="100%" y1="142" y2="142"></line>
    <text class="axis-name" x="0" y="157">${clock(from)}</text>
    <text class="axis-name" x="50%" y="157" text-anchor="middle">messages a second</text>
    <text class="axis-name" x="100%" y="157" text-anchor="end">${clock(now)}</text>
  </svg>`
}

/** A diamond for a roll, a disc for an assignment, a cross for a refusal: none is told by its colour alone. */
function mark({ kind, tone, title }: TimelineEntry, x: number): Html {
  const shape =
    kind === 'roll'
      ? html`<path class="mark roll" d="M0 -9 L9 0 L0 9 L-9 0 Z"></path>`
      : tone === 'bad'
        ? html`<path class="mark refused" d="M-6 -6 L6 6 M6 -6 L-6 6"></path>`
        : html`<circle class="mark assigned" r="6"></circle>`
  return html`<svg class="at" x="${x}%" y="${lanes.marks + (kind === 'roll' ? 12 : 32)}">
    <title>${title}</title>
    ${shape}
  </svg>`
}

function messageBars(history: DeviceHistory, from: number, now: number, x: (at: number) => number): Fragment {
  // The second that has not ended would look like a drop.
  const ended = Math.floor(now / 1000)
  const bars = [...history.messagesPerSecond].filter(([second]) => second * 1000 >= from && second < ended)
  const most = Math.max(1, ...bars.map(([, count]) => count))
  return bars.map(([second, count]) => {
    const height = Math.max(2, Math.round((lanes.messagesHeight * count) / most))
    const y = lanes.messages + lanes.messagesHeight - height
    return html`<rect class="bar" x="${x(second * 1000)}%" y="${y}" width="0.7%" height="${height}"></rect>`
  })
}

function inWords(history: DeviceHistory, marks: readonly TimelineEntry[], now: number): string {
  const current = history.spans.at(-1)
  const connected =
    current === undefined || current.until !== undefined
      ? 'not connected'
      : `connected with generation ${history.generation(current.thumbprint)?.number ?? 0}`
  const rolls = marks.filter(({ kind }) => kind === 'roll').length
  const lastMinutes = [...history.messagesPerSecond].filter(([second]) => second * 1000 >= now - shownMs)
  const messages = lastMinutes.reduce((sum, [, count]) => sum + count, 0)
  return `The last two minutes: now ${connected}; ${rolls} rolls, ${marks.length - rolls} registrations, ${messages} messages.`
}
