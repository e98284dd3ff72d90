import { readFile } from 'node:fs/promises'
import { createSecureContext, type SecureContextOptions, type SecureVersion } from 'node:tls'
import type { DeviceId } from '../brands.ts'
import { LeafkeeperError, messageOf } from '../errors.ts'
import { readSecret } from '../secret-source.ts'
import { Secret } from '../secret.ts'
import { withTokenCertificate } from '../transport/token-credential.ts'
import type { EstAccess } from './est-exchange.ts'
import type { CertificateFiles, EstBootstrap } from './est-options.ts'

/**
 * Opens what a device shows before it has a certificate of the server's, for as long as the work takes.
 *
 * @throws LeafkeeperError `ISSUER_CREDENTIAL_MISSING`, `HSM_*`, and what the work throws
 */
export async function withBootstrap<Result>(
  { basic, certificate }: EstBootstrap,
  commonName: DeviceId,
  work: (access: EstAccess) => Promise<Result>,
): Promise<Result> {
  const shown = basic === undefined ? {} : { authorization: await basicAuthorization(basic) }
  if (certificate === undefined) return work({ ...nobody, ...shown })
  if ('token' in certificate)
    return withTokenCertificate(certificate, commonName, (credential) =>
      work({ ...shown, secureContext: (ca, maxVersion) => credential.secureContext(ca, maxVersion) }),
    )
  return work({ ...shown, ...(await fromFiles(certificate)) })
}

/** Shows nothing. */
export const nobody: EstAccess = {
  secureContext: (ca, maxVersion) => createSecureContext(trusting(ca, maxVersion)),
}

function trusting(ca: string | undefined, maxVersion: SecureVersion | undefined): SecureContextOptions {
  return { ...(ca === undefined ? {} : { ca }), ...(maxVersion === undefined ? {} : { maxVersion }) }
}

/** RFC 7617, 2, in UTF-8. */
async function basicAuthorization({ user, password }: Required<EstBootstrap>['basic']): Promise<Secret> {
  const secret = await readSecret(password, (why, cause) => missing(`There is no password: ${why}.`, cause))
  return new Secret(`Basic ${Buffer.from(`${user}:${secret.reveal()}`).toString('base64')}`)
}

async function fromFiles({ certificate, key }: CertificateFiles): Promise<EstAccess> {
  const cert = await readText(certificate.file)
  const privateKey = await readText(key.file)
  return {
    secureContext: (ca, maxVersion) => {
      try {
        return createSecureContext({ cert, key: privateKey, ...trusting(ca, maxVersion) })
      } catch (error) {
        throw missing(
          `The certificate in ${certificate.file} and the key in ${key.file} cannot be used (${messageOf(error)}).`,
          error,
        )
      }
    },
  }
}

async function readText(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: unknown) => {
    throw missing(`The file ${file} cannot be read (${messageOf(error)}).`, error)
  })
}

function missing(message: string, cause?: unknown): LeafkeeperError {
  return new LeafkeeperError('ISSUER_CREDENTIAL_MISSING', {
    message,
    ...(cause === undefined ? {} : { cause }),
  })
}
