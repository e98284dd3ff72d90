import type { SimulatedCloud } from '../../cloud.ts'
import { isTyped, type IndividualEnrollment, type Stored } from '../../dps/enrollment.ts'
import { ServiceError } from '../../errors.ts'
import { commonNameOf, readCertificate } from '../../pki/certificate.ts'
import { hidden, submit, textField } from '../fields.ts'
import type { Form } from '../form.ts'
import { html } from '../html.ts'
import { enabled } from '../marks.ts'
import type { Page } from '../page.ts'
import type { Outcome, Pages } from '../pages.ts'
import { facts } from '../table.ts'
import { deleteForm } from './delete-form.ts'
import { individualPath } from './enrollment-paths.ts'
import { entryFields, hubInWords, policyInWords, readEntryFields, withoutCommon } from './entry-fields.ts'
import { registrationTable } from './registration-table.ts'
import { mechanism, readSlots, slotFields, slotInWords } from './slots.ts'

const above = [{ path: '/enrollments', name: 'Manage enrollments' }]
const adding = '/enrollments/add-individual'

/** The pages of individual enrollments: one to add one, and one for each. */
export function addIndividualPages(pages: Pages, cloud: SimulatedCloud): void {
  const page = (id: string): Page => individualPage(cloud, id)
  pages.show(adding, () => addingPage(cloud))
  pages.act(adding, { page: () => addingPage(cloud), run: async (form) => add(cloud, form) })
  pages.show('/enrollments/individual/:id', (context) => page(context.req.param('id') ?? ''))
  pages.act('/enrollments/individual/:id', {
    page: (context) => page(context.req.param('id') ?? ''),
    run: async (form, context) => save(cloud, context.req.param('id') ?? '', form),
  })
  pages.act('/enrollments/individual/:id/delete', {
    page: (context) => page(context.req.param('id') ?? ''),
    run: (form, context) => {
      cloud.dps.enrollments.delete(context.req.param('id') ?? '', form.text('etag'))
      return { to: '/enrollments', done: 'deleted' }
    },
  })
}

function addingPage(cloud: SimulatedCloud): Page {
  return {
    title: 'Add individual enrollment',
    section: 'enrollments',
    path: adding,
    above,
    body: (tools) =>
      tools.form(
        adding,
        html`
          ${textField({
            name: 'registration-id',
            label: 'Registration id',
            hint: 'Left empty, it is the common name of the primary certificate.',
            value: tools.written('registration-id', ''),
          })}
          ${slotFields(tools, undefined)} ${deviceIdField(tools.written('device-id', ''))}
          ${entryFields(tools, cloud, undefined)} ${submit('Add')}
        `,
      ),
  }
}

function individualPage(cloud: SimulatedCloud, id: string): Page {
  const { dps } = cloud
  const stored = required(cloud, id)
  const { registrationId, attestation } = stored
  const path = individualPath(registrationId)
  const registration = dps.registrations.get(registrationId)
  const isX509 = !isTyped(attestation)
  return {
    title: registrationId,
    section: 'enrollments',
    path,
    above,
    body: (tools) => html`
      ${tools.live(
        'entry',
        facts([
          ['Status', enabled(stored.provisioningStatus)],
          ['Mechanism', mechanism(attestation)],
          ['Device', stored.deviceId ?? registrationId],
          ['Primary certificate', slotInWords(attestation, 'primary')],
          ['Secondary certificate', slotInWords(attestation, 'secondary')],
          ['IoT hub', hubInWords(stored)],
          ['When it registers again', policyInWords(stored.reprovisionPolicy)],
        ]),
      )}
      <h2>Registration</h2>
      ${tools.live('registration', registrationTable(registration === undefined ? [] : [registration]))}
      <h2>Change</h2>
      ${tools.form(
        path,
        html`
          ${hidden('etag', stored.etag)} ${isX509 && slotFields(tools, attestation)}
          ${deviceIdField(tools.written('device-id', stored.deviceId ?? ''))}
          ${entryFields(tools, cloud, stored)} ${submit('Save')}
        `,
      )}
      ${deleteForm(tools, `${path}/delete`, 'enrollment', stored.etag)}
    `,
  }
}

function deviceIdField(value: string): ReturnType<typeof textField> {
  return textField({
    name: 'device-id',
    label: 'IoT hub device id',
    hint: 'Left empty, it is the registration id.',
    value,
  })
}

async function add(cloud: SimulatedCloud, form: Form): Promise<Outcome> {
  const { enrollments } = cloud.dps
  const attestation = await readSlots(form, undefined)
  const leaf = attestation.primary ?? attestation.secondary
  const commonName = leaf === undefined ? undefined : commonNameOf(readCertificate(leaf, 'The certificate'))
  const registrationId = form.text('registration-id') || (commonName ?? '')
  if (enrollments.get(registrationId) !== undefined) {
    throw new ServiceError(409, 409200, `There is an individual enrollment "${registrationId}" already.`)
  }
  enrollments.write({ registrationId, attestation, ...deviceIdIn(form), ...readEntryFields(form, undefined) })
  return { to: individualPath(registrationId), done: 'added' }
}

async function save(cloud: SimulatedCloud, id: string, form: Form): Promise<Outcome> {
  const before = required(cloud, id)
  const { deviceId: _changed, ...kept } = withoutCommon(before)
  cloud.dps.enrollments.write(
    {
      ...kept,
      attestation: isTyped(before.attestation)
        ? before.attestation
        : await readSlots(form, before.attestation),
      ...deviceIdIn(form),
      ...readEntryFields(form, before),
    },
    form.text('etag'),
  )
  return { to: individualPath(before.registrationId), done: 'saved' }
}

function deviceIdIn(form: Form): Pick<IndividualEnrollment, 'deviceId'> {
  const deviceId = form.text('device-id')
  return deviceId === '' ? {} : { deviceId }
}

function required({ dps }: SimulatedCloud, id: string): Stored<IndividualEnrollment> {
  const stored = dps.enrollments.get(id)
  if (stored === undefined) throw new ServiceError(404, 404201, `There is no individual enrollment "${id}".`)
  return stored
}
