import { LeafkeeperError } from '../errors.ts'

/** The parts of an activation blob, each with its size in front: credential, seed, duplicate, seed, public area, data. */
const partCount = 6
/** The algorithms of a key for HMACs (part 2, 6.3): `TPM_ALG_KEYEDHASH`, `TPM_ALG_HMAC`. */
const [keyedHash, hmac] = [0x0008, 0x0005]
/** SHA-256, in bytes. */
const digestLength = 32

/**
 * Looks at the outline of what DPS sent for the TPM before the TPM gets it: the official client trips over what does not
 * have it. Whether it is meant for this TPM, the TPM decides.
 *
 * @throws LeafkeeperError `TPM_ACTIVATION_FAILED`
 */
export function checkActivationBlob(blob: Buffer): void {
  const parts: Buffer[] = []
  let at = 0
  while (parts.length < partCount) {
    if (at + 2 > blob.length) throw malformed(`an end within part ${parts.length + 1}`)
    const size = blob.readUInt16BE(at)
    if (at + 2 + size > blob.length) throw malformed(`an end within part ${parts.length + 1}`)
    parts.push(blob.subarray(at + 2, at + 2 + size))
    at += 2 + size
  }
  const [credential = blob, , , , publicArea = blob] = parts
  const macLength = credential.length < 2 ? 0 : credential.readUInt16BE(0)
  if (macLength !== digestLength || credential.length <= 2 + macLength)
    throw malformed('a credential without an integrity value')
  if (!isHmacKey(publicArea)) throw malformed('a key that is not one for HMACs')
}

/** Type, name algorithm, attributes, policy; then scheme, its hash, and what makes the key unique (part 2, 12.2.4). */
function isHmacKey(area: Buffer): boolean {
  if (area.length < 10 || area.readUInt16BE(0) !== keyedHash) return false
  const scheme = 10 + area.readUInt16BE(8)
  if (area.length < scheme + 6 || area.readUInt16BE(scheme) !== hmac) return false
  return area.length === scheme + 6 + area.readUInt16BE(scheme + 4)
}

function malformed(what: string): LeafkeeperError {
  return new LeafkeeperError('TPM_ACTIVATION_FAILED', {
    message: `Expected ${partCount} parts that the TPM can take in from DPS, got ${what}.`,
  })
}
