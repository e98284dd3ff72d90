import { html } from '../html.ts'
import type { Pages, PortalParts } from '../pages.ts'
import { registrationTable } from './registration-table.ts'

/** `/registrations`: where DPS has sent devices, and what it has decided on last. */
export function addRegistrationPages(pages: Pages, { cloud }: PortalParts): void {
  pages.show('/registrations', () => ({
    title: 'Registration records',
    section: 'registrations',
    body: ({ live }) => html`${live('registrations', registrationTable(cloud.dps.registrations.list()))}`,
  }))
}
