import type { X509Certificate } from 'node:crypto'
import type { SimulatedCloud } from '../../cloud.ts'
import { isTyped, type EntryAttestation } from '../../dps/enrollment.ts'
import { ServiceError } from '../../errors.ts'
import { readCertificate } from '../../pki/certificate.ts'
import { html, type Fragment } from '../html.ts'
import { certificate, enabled } from '../marks.ts'
import type { Page } from '../page.ts'
import type { Pages, PortalParts } from '../pages.ts'
import { facts, table } from '../table.ts'
import { groupPath, individualPath } from './enrollment-paths.ts'
import { registrationTable } from './registration-table.ts'

/** `/enrollments`: individual enrollments and groups, and a page for each. */
export function addEnrollmentPages(pages: Pages, { cloud }: PortalParts): void {
  pages.show('/enrollments', () => list(cloud))
  pages.show('/enrollments/individual/:id', (context) => individual(cloud, context.req.param('id') ?? ''))
  pages.show('/enrollments/group/:id', (context) => group(cloud, context.req.param('id') ?? ''))
}

const above = [{ path: '/enrollments', name: 'Manage enrollments' }]

function list({ dps }: SimulatedCloud): Page {
  return {
    title: 'Manage enrollments',
    section: 'enrollments',
    body: ({ live }) => html`
      <h2>Enrollment groups</h2>
      ${live(
        'groups',
        table(
          'Enrollment groups',
          [
            ['Group', ({ enrollmentGroupId: id }) => html`<a href="${groupPath(id)}">${id}</a>`],
            ['Status', ({ provisioningStatus }) => enabled(provisioningStatus)],
            ['Primary', ({ attestation }) => slot(attestation, 'primary')],
            ['Secondary', ({ attestation }) => slot(attestation, 'secondary')],
          ],
          dps.groups.list(),
          'There is no enrollment group.',
        ),
      )}
      <h2>Individual enrollments</h2>
      ${live(
        'individual',
        table(
          'Individual enrollments',
          [
            ['Registration', ({ registrationId: id }) => html`<a href="${individualPath(id)}">${id}</a>`],
            ['Status', ({ provisioningStatus }) => enabled(provisioningStatus)],
            ['Primary', ({ attestation }) => slot(attestation, 'primary')],
            ['Secondary', ({ attestation }) => slot(attestation, 'secondary')],
          ],
          dps.enrollments.list(),
          'There is no individual enrollment.',
        ),
      )}
    `,
  }
}

function individual({ dps }: SimulatedCloud, id: string): Page {
  const stored = dps.enrollments.get(id)
  if (stored === undefined) throw new ServiceError(404, 404201, `There is no individual enrollment "${id}".`)
  const registration = dps.registrations.get(id)
  return {
    title: stored.registrationId,
    section: 'enrollments',
    above,
    body: ({ live }) => html`
      ${live(
        'entry',
        facts([
          ['Status', enabled(stored.provisioningStatus)],
          ['Device', stored.deviceId ?? stored.registrationId],
          ['Mechanism', mechanism(stored.attestation)],
          ['Primary certificate', slot(stored.attestation, 'primary')],
          ['Secondary certificate', slot(stored.attestation, 'secondary')],
        ]),
      )}
      <h2>Registration</h2>
      ${live('registration', registrationTable(registration === undefined ? [] : [registration]))}
    `,
  }
}

function group({ dps }: SimulatedCloud, id: string): Page {
  const stored = dps.groups.get(id)
  if (stored === undefined) throw new ServiceError(404, 404201, `There is no enrollment group "${id}".`)
  const { enrollmentGroupId, provisioningStatus, attestation } = stored
  return {
    title: enrollmentGroupId,
    section: 'enrollments',
    above,
    body: ({ live }) => html`
      ${live(
        'entry',
        facts([
          ['Status', enabled(provisioningStatus)],
          ['Mechanism', mechanism(attestation)],
          ['Primary certificate', slot(attestation, 'primary')],
          ['Secondary certificate', slot(attestation, 'secondary')],
        ]),
      )}
      <h2>Registration records</h2>
      ${live(
        'registrations',
        registrationTable(
          dps.registrations
            .list()
            .filter(({ enrollmentGroupId: of }) => of?.toLowerCase() === enrollmentGroupId.toLowerCase()),
        ),
      )}
    `,
  }
}

/** How an entry attests, in words. */
function mechanism(attestation: EntryAttestation): string {
  if (!isTyped(attestation)) return 'X.509 certificates'
  switch (attestation.type) {
    case 'caReferences':
      return 'X.509, CA certificates'
    case 'symmetricKey':
      return 'Symmetric key'
    case 'tpm':
      return 'TPM'
  }
}

/** What stands in one of the two slots of an entry. */
function slot(attestation: EntryAttestation, name: 'primary' | 'secondary'): Fragment {
  if (!isTyped(attestation)) return certificate(certificateIn(attestation[name]))
  return attestation.type === 'caReferences'
    ? (attestation[name] ?? html`<span class="none">none</span>`)
    : '–'
}

function certificateIn(pem: string | undefined): X509Certificate | undefined {
  return pem === undefined ? undefined : readCertificate(pem, 'A certificate')
}
