import type { SimulatedCloud } from '../../cloud.ts'
import {
  isTyped,
  type CaReferenceAttestation,
  type EnrollmentGroup,
  type EntryAttestation,
  type Stored,
} from '../../dps/enrollment.ts'
import { ServiceError } from '../../errors.ts'
import { choice, hidden, radios, submit, textField } from '../fields.ts'
import type { Form } from '../form.ts'
import { html, type Fragment, type Html } from '../html.ts'
import { enabled } from '../marks.ts'
import type { Page, PageTools } from '../page.ts'
import type { Outcome, Pages } from '../pages.ts'
import { facts } from '../table.ts'
import { deleteForm } from './delete-form.ts'
import { groupPath } from './enrollment-paths.ts'
import { entryFields, hubInWords, policyInWords, readEntryFields, withoutCommon } from './entry-fields.ts'
import { registrationTable } from './registration-table.ts'
import { mechanism, readSlots, slotFields, slotInWords, slots } from './slots.ts'

const above = [{ path: '/enrollments', name: 'Manage enrollments' }]
const adding = '/enrollments/add-group'

/** The pages of enrollment groups: one to add one, and one for each. */
export function addGroupPages(pages: Pages, cloud: SimulatedCloud): void {
  const page = (id: string): Page => groupPage(cloud, id)
  pages.show(adding, () => addingPage(cloud))
  pages.act(adding, { page: () => addingPage(cloud), run: async (form) => add(cloud, form) })
  pages.show('/enrollments/group/:id', (context) => page(context.req.param('id') ?? ''))
  pages.act('/enrollments/group/:id', {
    page: (context) => page(context.req.param('id') ?? ''),
    run: async (form, context) => save(cloud, context.req.param('id') ?? '', form),
  })
  pages.act('/enrollments/group/:id/delete', {
    page: (context) => page(context.req.param('id') ?? ''),
    run: (form, context) => {
      cloud.dps.groups.delete(context.req.param('id') ?? '', form.text('etag'))
      return { to: '/enrollments', done: 'deleted' }
    },
  })
}

function addingPage(cloud: SimulatedCloud): Page {
  return {
    title: 'Add enrollment group',
    section: 'enrollments',
    path: adding,
    above,
    body: (tools) =>
      tools.form(
        adding,
        html`
          ${textField({
            name: 'group-id',
            label: 'Group name',
            value: tools.written('group-id', ''),
            required: true,
          })}
          ${authorityFields(tools, cloud, undefined)} ${entryFields(tools, cloud, undefined)} ${submit('Add')}
        `,
      ),
  }
}

function groupPage(cloud: SimulatedCloud, id: string): Page {
  const { dps } = cloud
  const stored = required(cloud, id)
  const { enrollmentGroupId, attestation } = stored
  const path = groupPath(enrollmentGroupId)
  return {
    title: enrollmentGroupId,
    section: 'enrollments',
    path,
    above,
    body: (tools) => html`
      ${tools.live(
        'entry',
        facts([
          ['Status', enabled(stored.provisioningStatus)],
          ['Mechanism', mechanism(attestation)],
          ['Primary certificate', slotInWords(attestation, 'primary')],
          ['Secondary certificate', slotInWords(attestation, 'secondary')],
          ['IoT hub', hubInWords(stored)],
          ['When a device registers again', policyInWords(stored.reprovisionPolicy)],
        ]),
      )}
      <h2>Registration records</h2>
      ${tools.live(
        'registrations',
        registrationTable(
          dps.registrations
            .list()
            .filter(({ enrollmentGroupId: of }) => of?.toLowerCase() === enrollmentGroupId.toLowerCase()),
        ),
      )}
      <h2>Change</h2>
      ${tools.form(
        path,
        html`
          ${hidden('etag', stored.etag)}
          ${hasAuthorities(attestation) && authorityFields(tools, cloud, attestation)}
          ${entryFields(tools, cloud, stored)} ${submit('Save')}
        `,
      )}
      ${deleteForm(tools, `${path}/delete`, 'enrollment group', stored.etag)}
    `,
  }
}

function hasAuthorities(attestation: EntryAttestation): boolean {
  return !isTyped(attestation) || attestation.type === 'caReferences'
}

/** Either verified certificates of the service by their names, or the certificates of intermediates themselves. */
function authorityFields(
  tools: PageTools,
  { dps }: SimulatedCloud,
  attestation: EntryAttestation | undefined,
): Html {
  const references =
    attestation !== undefined && isTyped(attestation) ? (attestation as CaReferenceAttestation) : undefined
  const isByName = attestation === undefined || references !== undefined
  const verified = dps.certificates.list().filter(({ isVerified }) => isVerified)
  const reference = (slot: (typeof slots)[number], label: string): Fragment => {
    const current = references?.[slot] ?? ''
    const isGone = current !== '' && !verified.some(({ name }) => name === current)
    return choice({
      name: `${slot}-ca`,
      label,
      value: tools.written(`${slot}-ca`, current),
      options: [
        ['', 'none'],
        ...verified.map(({ name, subject }) => [name, `${name} (${subject})`] as const),
        ...(isGone ? [[current, `${current} (deleted, or not verified)`] as const] : []),
      ],
    })
  }
  return html`
    ${radios('Certificate type', 'type', tools.written('type', isByName ? 'ca' : 'intermediate'), [
      ['ca', 'CA certificate'],
      ['intermediate', 'Intermediate certificate'],
    ])}
    <div class="when-ca">
      ${reference('primary', 'Primary CA certificate')} ${reference('secondary', 'Secondary CA certificate')}
    </div>
    <div class="when-intermediate">
      ${slotFields(tools, references === undefined ? attestation : undefined)}
    </div>
  `
}

async function add(cloud: SimulatedCloud, form: Form): Promise<Outcome> {
  const { groups } = cloud.dps
  const enrollmentGroupId = form.text('group-id')
  if (groups.get(enrollmentGroupId) !== undefined) {
    throw new ServiceError(409, 409200, `There is an enrollment group "${enrollmentGroupId}" already.`)
  }
  const attestation = await readAuthorities(form, undefined)
  groups.write({ enrollmentGroupId, attestation, ...readEntryFields(form, undefined) })
  return { to: groupPath(enrollmentGroupId), done: 'added' }
}

async function save(cloud: SimulatedCloud, id: string, form: Form): Promise<Outcome> {
  const before = required(cloud, id)
  const { attestation } = before
  cloud.dps.groups.write(
    {
      ...withoutCommon(before),
      attestation: hasAuthorities(attestation) ? await readAuthorities(form, attestation) : attestation,
      ...readEntryFields(form, before),
    },
    form.text('etag'),
  )
  return { to: groupPath(before.enrollmentGroupId), done: 'saved' }
}

async function readAuthorities(form: Form, before: EntryAttestation | undefined): Promise<EntryAttestation> {
  if (form.text('type') === 'intermediate') return readSlots(form, before)
  const [primary, secondary] = slots.map((slot) => form.text(`${slot}-ca`))
  return {
    type: 'caReferences',
    ...(primary === undefined || primary === '' ? {} : { primary }),
    ...(secondary === undefined || secondary === '' ? {} : { secondary }),
  }
}

function required({ dps }: SimulatedCloud, id: string): Stored<EnrollmentGroup> {
  const stored = dps.groups.get(id)
  if (stored === undefined) throw new ServiceError(404, 404201, `There is no enrollment group "${id}".`)
  return stored
}
