import type { SimulatedCloud } from '../../cloud.ts'
import { ServiceError } from '../../errors.ts'
import { html } from '../html.ts'
import type { Page } from '../page.ts'
import type { Pages, PortalParts } from '../pages.ts'
import { registrationTable } from './registration-table.ts'

/** `/registrations`: where DPS has sent devices. */
export function addRegistrationPages(pages: Pages, { cloud }: PortalParts): void {
  pages.show('/registrations', () => page(cloud))
  pages.act('/registrations/:id/delete', {
    page: () => page(cloud),
    run: (_form, context) => {
      const id = context.req.param('id') ?? ''
      if (cloud.dps.registrations.delete(id)) return { to: '/registrations', done: 'deleted' }
      throw new ServiceError(404, 404201, `There is no registration "${id}".`)
    },
  })
}

function page({ dps }: SimulatedCloud): Page {
  return {
    title: 'Registration records',
    section: 'registrations',
    path: '/registrations',
    body: ({ live, form }) => html`
      <p>A device whose record is deleted gets an initial assignment when it registers again.</p>
      ${live('registrations', registrationTable(dps.registrations.list(), form))}
    `,
  }
}
