import type { SimulatedCloud } from '../../cloud.ts'
import { html } from '../html.ts'
import { enabled } from '../marks.ts'
import type { Page } from '../page.ts'
import type { Pages, PortalParts } from '../pages.ts'
import { table } from '../table.ts'
import { groupPath, individualPath } from './enrollment-paths.ts'
import { addGroupPages } from './group.ts'
import { addIndividualPages } from './individual.ts'
import { mechanism, slotInWords } from './slots.ts'

/** `/enrollments`: individual enrollments and groups, and a page for each. */
export function addEnrollmentPages(pages: Pages, { cloud }: PortalParts): void {
  pages.show('/enrollments', () => list(cloud))
  addIndividualPages(pages, cloud)
  addGroupPages(pages, cloud)
}

function list({ dps }: SimulatedCloud): Page {
  return {
    title: 'Manage enrollments',
    section: 'enrollments',
    path: '/enrollments',
    body: ({ live }) => html`
      <h2>Enrollment groups</h2>
      ${live(
        'groups',
        table(
          'Enrollment groups',
          [
            ['Group', ({ enrollmentGroupId: id }) => html`<a href="${groupPath(id)}">${id}</a>`],
            ['Status', ({ provisioningStatus }) => enabled(provisioningStatus)],
            ['Mechanism', ({ attestation }) => mechanism(attestation)],
            ['Primary', ({ attestation }) => slotInWords(attestation, 'primary')],
            ['Secondary', ({ attestation }) => slotInWords(attestation, 'secondary')],
          ],
          dps.groups.list(),
          'There is no enrollment group.',
        ),
      )}
      <p><a class="button" href="/enrollments/add-group">Add enrollment group</a></p>
      <h2>Individual enrollments</h2>
      ${live(
        'individual',
        table(
          'Individual enrollments',
          [
            ['Registration', ({ registrationId: id }) => html`<a href="${individualPath(id)}">${id}</a>`],
            ['Status', ({ provisioningStatus }) => enabled(provisioningStatus)],
            ['Mechanism', ({ attestation }) => mechanism(attestation)],
            ['Primary', ({ attestation }) => slotInWords(attestation, 'primary')],
            ['Secondary', ({ attestation }) => slotInWords(attestation, 'secondary')],
          ],
          dps.enrollments.list(),
          'There is no individual enrollment.',
        ),
      )}
      <p><a class="button" href="/enrollments/add-individual">Add individual enrollment</a></p>
    `,
  }
}
