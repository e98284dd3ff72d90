import { html } from '../html.ts'
import type { Pages, PortalParts } from '../pages.ts'
import { addDevicePage } from './device.ts'
import { deviceTable } from './device-table.ts'

/** `/devices`: those of all hubs, and a page for each. */
export function addDevicePages(pages: Pages, parts: PortalParts): void {
  const { cloud, histories } = parts
  pages.show('/devices', () => ({
    title: 'Devices',
    section: 'devices',
    path: '/devices',
    body: ({ live }) => html`${live('devices', deviceTable(cloud, histories))}`,
  }))
  addDevicePage(pages, parts)
}
