import type { X509Certificate } from 'node:crypto'
import { isTyped, type EntryAttestation, type X509Attestation } from '../../dps/enrollment.ts'
import { ServiceError } from '../../errors.ts'
import { readCertificate } from '../../pki/certificate.ts'
import { certificateField, tickBox } from '../fields.ts'
import type { Form } from '../form.ts'
import { html, type Fragment, type Html } from '../html.ts'
import { certificate, nothing } from '../marks.ts'
import type { PageTools } from '../page.ts'

/** The two certificates of an entry. */
export const slots = ['primary', 'secondary'] as const
export type Slot = (typeof slots)[number]

/** How an entry attests, in words. */
export function mechanism(attestation: EntryAttestation): string {
  if (!isTyped(attestation)) return 'X.509'
  switch (attestation.type) {
    case 'caReferences':
      return 'X.509, CA certificates'
    case 'symmetricKey':
      return 'Symmetric key'
    case 'tpm':
      return 'TPM'
  }
}

/** What stands in a slot of an entry, in few words. */
export function slotInWords(attestation: EntryAttestation, slot: Slot): Fragment {
  if (!isTyped(attestation)) return certificate(certificateIn(attestation, slot))
  return attestation.type === 'caReferences' ? (attestation[slot] ?? nothing) : nothing
}

/** The fields of both slots, as the guide has them: a current certificate has to be deleted to make room for another. */
export function slotFields({ live, ticked }: PageTools, attestation: EntryAttestation | undefined): Html {
  return html`<div class="row slots">
    ${slots.map((slot) => {
      const current = attestation === undefined ? undefined : certificateIn(attestation, slot)
      const name = slot === 'primary' ? 'Primary' : 'Secondary'
      return html`<fieldset>
        <legend>${name} certificate</legend>
        ${
          current !== undefined &&
          html`${live(`${slot}-current`, certificate(current))}
          ${tickBox({ name: `delete-${slot}`, label: 'Delete current certificate', ticked: ticked(`delete-${slot}`, false) })}`
        }
        ${certificateField({
          name: `${slot}-file`,
          label: `${name} certificate file`,
          hint:
            current === undefined ? 'PEM or DER.' : 'Another one, when the current certificate is deleted.',
        })}
      </fieldset>`
    })}
  </div>`
}

/**
 * What the slots of an entry hold after a form.
 *
 * @throws ServiceError 400 for a file that is none, or that has no room
 */
export async function readSlots(form: Form, before: EntryAttestation | undefined): Promise<X509Attestation> {
  const [primary, secondary] = await Promise.all(slots.map((slot) => readSlot(form, slot, before)))
  return {
    ...(primary === undefined ? {} : { primary }),
    ...(secondary === undefined ? {} : { secondary }),
  }
}

async function readSlot(
  form: Form,
  slot: Slot,
  before: EntryAttestation | undefined,
): Promise<string | undefined> {
  const uploaded = await form.certificate(`${slot}-file`)
  const current = before === undefined || isTyped(before) ? undefined : before[slot]
  if (current === undefined || form.isTicked(`delete-${slot}`)) return uploaded
  if (uploaded === undefined) return current
  throw new ServiceError(
    400,
    400209,
    `There is a ${slot} certificate: tick "Delete current certificate" to put another one in its place.`,
  )
}

function certificateIn(attestation: EntryAttestation, slot: Slot): X509Certificate | undefined {
  const pem = isTyped(attestation) ? undefined : attestation[slot]
  return pem === undefined ? undefined : readCertificate(pem, `The ${slot} certificate`)
}
