import { readAnyCertificate } from '../../certificates/read-certificate.ts'
import { certificateInfo } from '../certificates/certificate-info.ts'
import {
  isTyped,
  type EnrollmentGroup,
  type EntryAttestation,
  type IndividualEnrollment,
  type Stored,
} from '../enrollment.ts'
import type { RegistrationState } from '../registrations.ts'

/** An individual enrollment as the REST API shows it, with its registration if there is one. */
export function enrollmentJson(
  stored: Stored<IndividualEnrollment>,
  registrationState: RegistrationState | undefined,
): object {
  return {
    ...stored,
    attestation: attestationJson(stored.attestation, 'clientCertificates', false),
    ...allocationOf(stored),
    ...(registrationState === undefined ? {} : { registrationState: registrationJson(registrationState) }),
  }
}

/** An enrollment group as the REST API shows it. */
export function groupJson(stored: Stored<EnrollmentGroup>): object {
  return {
    ...stored,
    attestation: attestationJson(stored.attestation, 'signingCertificates', false),
    ...allocationOf(stored),
  }
}

/** A registration as the REST API shows it. */
export function registrationJson({ enrollmentGroupId, ...state }: RegistrationState): object {
  return { ...state, ...(enrollmentGroupId === undefined ? {} : { x509: { enrollmentGroupId } }) }
}

/**
 * An attestation mechanism. Certificates are only described; keys are shown where they were asked for.
 *
 * @param slots - where this kind of entry has its certificates
 */
export function attestationJson(
  attestation: EntryAttestation,
  slots: 'clientCertificates' | 'signingCertificates',
  withKeys: boolean,
): object {
  if (!isTyped(attestation)) {
    const { primary, secondary } = attestation
    return {
      type: 'x509',
      x509: { [slots]: { ...slot('primary', primary), ...slot('secondary', secondary) } },
    }
  }
  switch (attestation.type) {
    case 'caReferences': {
      const { type: _type, ...caReferences } = attestation
      return { type: 'x509', x509: { caReferences } }
    }
    case 'symmetricKey': {
      const { type, ...symmetricKey } = attestation
      return withKeys ? { type, symmetricKey } : { type }
    }
    case 'tpm': {
      const { type, ...tpm } = attestation
      return { type, tpm }
    }
  }
}

function slot(name: string, pem: string | undefined): object {
  return pem === undefined ? {} : { [name]: { info: certificateInfo(readAnyCertificate(pem, name)) } }
}

function allocationOf({
  allocationPolicy,
  iotHubHostName,
}: Stored<EnrollmentGroup | IndividualEnrollment>): object {
  return { allocationPolicy: allocationPolicy ?? (iotHubHostName === undefined ? 'hashed' : 'static') }
}
