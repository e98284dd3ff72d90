import type { X509Certificate } from 'node:crypto'
import { ServiceError } from '../../errors.ts'
import { isRecord, type JsonRecord } from '../../http/request-body.ts'
import { readAnyCertificate } from '../../certificates/read-certificate.ts'
import type { EntryAttestation, X509Attestation } from '../enrollment.ts'

/** Finds a certificate that the present entry has, by its SHA-256 thumbprint. */
export type CertificateKeeper = (thumbprint: string) => X509Certificate | undefined

type Slots = 'clientCertificates' | 'signingCertificates'

/**
 * Reads an attestation mechanism. What was read before and is written back has only the description of its
 * certificates, which stands for the certificates that are there.
 *
 * @param slots - where this kind of entry has its certificates
 * @throws ServiceError 400
 */
export function readAttestation(value: unknown, slots: Slots, keeper: CertificateKeeper): EntryAttestation {
  if (!isRecord(value)) throw refused('expected an object.')
  const type = typeof value['type'] === 'string' ? value['type'].toLowerCase() : ''
  switch (type) {
    case 'x509':
      return readX509(objectIn(value, 'x509'), slots, keeper)
    case 'symmetrickey': {
      const keys = value['symmetricKey'] ?? {}
      if (!isRecord(keys)) throw refused('expected symmetricKey to be an object.')
      const [primaryKey, secondaryKey] = [textIn(keys, 'primaryKey'), textIn(keys, 'secondaryKey')]
      return {
        type: 'symmetricKey',
        ...(primaryKey === undefined ? {} : { primaryKey }),
        ...(secondaryKey === undefined ? {} : { secondaryKey }),
      }
    }
    case 'tpm': {
      const tpm = objectIn(value, 'tpm')
      const storageRootKey = textIn(tpm, 'storageRootKey')
      return {
        type: 'tpm',
        endorsementKey: textIn(tpm, 'endorsementKey') ?? '',
        ...(storageRootKey === undefined ? {} : { storageRootKey }),
      }
    }
    default:
      throw refused('expected its type to be one of x509, symmetricKey, tpm.')
  }
}

function readX509(x509: JsonRecord, slots: Slots, keeper: CertificateKeeper): EntryAttestation {
  const given = (['clientCertificates', 'signingCertificates', 'caReferences'] as const).filter((name) =>
    isRecord(x509[name]),
  )
  const [only] = given
  if (only === undefined || given.length > 1) {
    throw refused('expected exactly one of clientCertificates, signingCertificates, caReferences.')
  }
  const pair = objectIn(x509, only)
  if (only === 'caReferences') {
    const [primary, secondary] = [textIn(pair, 'primary'), textIn(pair, 'secondary')]
    return {
      type: 'caReferences',
      ...(primary === undefined ? {} : { primary }),
      ...(secondary === undefined ? {} : { secondary }),
    }
  }
  if (only !== slots) throw refused(`expected ${slots}, not ${only}.`)
  const primary = readSlot(pair['primary'], keeper)
  const secondary = readSlot(pair['secondary'], keeper)
  const attestation: X509Attestation = {
    ...(primary === undefined ? {} : { primary }),
    ...(secondary === undefined ? {} : { secondary }),
  }
  return attestation
}

function readSlot(slot: unknown, keeper: CertificateKeeper): string | undefined {
  if (slot === undefined || slot === null) return undefined
  if (!isRecord(slot)) throw refused('expected a certificate to be an object.')
  const text = textIn(slot, 'certificate')
  if (text !== undefined) return readAnyCertificate(text, 'A certificate').toString()
  const info = slot['info']
  const thumbprint = isRecord(info) ? textIn(info, 'sha256Thumbprint') : undefined
  if (thumbprint === undefined) return undefined
  const kept = keeper(thumbprint.toUpperCase())
  if (kept === undefined) throw refused(`there is no certificate ${thumbprint} to keep.`)
  return kept.toString()
}

function objectIn(json: JsonRecord, name: string): JsonRecord {
  const value = json[name]
  if (isRecord(value)) return value
  throw refused(`expected ${name} to be an object.`)
}

function textIn(json: JsonRecord, name: string): string | undefined {
  const value = json[name]
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value === 'string') return value
  throw refused(`expected ${name} to be text.`)
}

function refused(text: string): ServiceError {
  return new ServiceError(400, 400209, `Attestation: ${text}`)
}
