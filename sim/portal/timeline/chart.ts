import { html, type Fragment, type Html } from '../html.ts'
import { clock } from '../words.ts'
import type { DeviceHistory, TimelineEntry } from './device-history.ts'

/** How much of the past the chart shows, in milliseconds: less while less is known. */
const shown = { least: 30_000, most: 120_000 }
const lanes = {
  generations: 8,
  rolls: 50,
  registrations: 70,
  messages: 84,
  messagesHeight: 44,
  axis: 130,
  height: 154,
}

/**
 * The last minutes of a device as an SVG: which generation was connected, registrations and rolls, messages a
 * second. Positions are in per cent of the width, so that it is as wide as the page. The log beside it says the same
 * in words.
 *
 * @param now - milliseconds since 1970, the right edge
 */
export function chart(history: DeviceHistory, now: number): Html {
  const began = history.entries[0]?.at ?? now
  const shownMs = Math.min(shown.most, Math.max(shown.least, now - began))
  const from = now - shownMs
  const x = (at: number): number => Number(((100 * (Math.max(at, from) - from)) / shownMs).toFixed(2))
  const marks = history.entries.filter(
    ({ kind, at }) => (kind === 'registration' || kind === 'roll') && at >= from,
  )
  return html`<svg
    class="chart"
    role="img"
    aria-label="${inWords(history, marks, from)}"
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
    <line class="axis" x1="0" x2="100%" y1="${lanes.axis}" y2="${lanes.axis}"></line>
    <text class="axis-name" x="6" y="146">${clock(from)}</text>
    <svg class="at" x="100%" y="146">
      <text class="axis-name" x="-6" text-anchor="end">${clock(now)}</text>
    </svg>
  </svg>`
}

/** What the shapes of a chart mean. */
export const legend = html`<ul class="legend" aria-hidden="true">
  <li>${shape('roll')} roll</li>
  <li>${shape('assigned')} assigned by DPS</li>
  <li>${shape('refused')} refused by DPS</li>
  <li>${shape('bar')} messages a second</li>
</ul>`

/** A diamond for a roll, a disc for an assignment, a cross for a refusal: none is told by its colour alone. */
function mark({ kind, tone, title }: TimelineEntry, x: number): Html {
  const name = kind === 'roll' ? 'roll' : tone === 'bad' ? 'refused' : 'assigned'
  const y = kind === 'roll' ? lanes.rolls : lanes.registrations
  return html`<svg class="at" x="${x}%" y="${y}">
    <title>${title}</title>
    ${path(name)}
  </svg>`
}

type ShapeName = 'roll' | 'assigned' | 'refused' | 'bar'

function shape(name: ShapeName): Html {
  return html`<svg width="18" height="18" viewBox="-9 -9 18 18">${path(name)}</svg>`
}

function path(name: ShapeName): Html {
  const outlines = {
    roll: 'M0 -9 L9 0 L0 9 L-9 0 Z',
    assigned: 'M-6 0 A6 6 0 1 1 6 0 A6 6 0 1 1 -6 0 Z',
    refused: 'M-6 -6 L6 6 M6 -6 L-6 6',
    bar: 'M-3 -8 H3 V8 H-3 Z',
  }
  return html`<path class="mark ${name}" d="${outlines[name]}"></path>`
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

function inWords(history: DeviceHistory, marks: readonly TimelineEntry[], from: number): string {
  const current = history.spans.at(-1)
  const connected =
    current === undefined || current.until !== undefined
      ? 'not connected'
      : `connected with generation ${history.generation(current.thumbprint)?.number ?? 0}`
  const rolls = marks.filter(({ kind }) => kind === 'roll').length
  const recent = [...history.messagesPerSecond].filter(([second]) => second * 1000 >= from)
  const messages = recent.reduce((sum, [, count]) => sum + count, 0)
  return `Since ${clock(from)}: now ${connected}; ${rolls} rolls, ${marks.length - rolls} registrations, ${messages} messages.`
}
