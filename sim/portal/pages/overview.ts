import { html } from '../html.ts'
import type { Pages, PortalParts } from '../pages.ts'
import { facts } from '../table.ts'
import { hubName } from '../words.ts'
import { deviceTable } from './device-table.ts'

/** `/`: what this cloud is, and its devices. */
export function addOverviewPage(pages: Pages, { cloud, histories }: PortalParts): void {
  pages.show('/', () => ({
    title: 'Overview',
    section: 'overview',
    path: '/',
    body: ({ live }) => {
      const { enrollments, groups, registrations } = cloud.dps
      const set = cloud.faults.list().map(({ name }) => name)
      return html`${live(
          'facts',
          facts([
            ['Id scope', html`<code>${cloud.idScope}</code>`],
            ['DPS host', html`<code>${cloud.provisioningHost}</code>`],
            ['Address', html`<code>${cloud.address}</code>`],
            ['Hubs', cloud.hubs.map(({ hostName }) => hubName(hostName)).join(', ')],
            ['Enrollments', `${enrollments.list().length} individual, ${groups.list().length} groups`],
            ['Registrations', String(registrations.list().length)],
            ['Faults', set.length === 0 ? 'none is set' : set.join(', ')],
          ]),
        )}
        <h2>Devices</h2>
        ${live('devices', deviceTable(cloud, histories))}`
    },
  }))
}
