import { faultNames, type FaultSettings } from '../../faults/names.ts'
import { html } from '../html.ts'
import { state } from '../marks.ts'
import type { Pages, PortalParts } from '../pages.ts'
import { table } from '../table.ts'

/** `/faults`: what can go wrong, and what does. */
export function addFaultPages(pages: Pages, { cloud }: PortalParts): void {
  pages.show('/faults', () => ({
    title: 'Faults',
    section: 'faults',
    body: ({ live }) => {
      const set = new Map(cloud.faults.list().map(({ name, settings }) => [name, settings]))
      return html`${live(
        'faults',
        table(
          'Faults',
          [
            ['Fault', (name) => html`<code>${name}</code>`],
            ['Switch', (name) => (set.has(name) ? state('on', 'bad') : state('off', 'plain'))],
            ['Settings', (name) => inWords(set.get(name) ?? {})],
          ],
          faultNames,
          '',
        ),
      )}`
    },
  }))
}

function inWords(settings: FaultSettings): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name} ${String(value)}`)
    .join(', ')
}
