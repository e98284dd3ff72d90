import type { Context } from 'hono'
import { ServiceError } from '../errors.ts'
import { managementErrors } from '../http/error-style.ts'
import { readJsonObject, type JsonRecord } from '../http/request-body.ts'
import {
  createServiceApp,
  requireApiVersion,
  type HttpEnvironment,
  type ServiceApp,
} from '../http/service-app.ts'
import { managementApiVersions } from './api-versions.ts'
import type { CertificateStore, NamedCertificate } from './certificates/certificate-store.ts'

/** What the management API works on. */
export interface ManagementParts {
  /** What the caller must show as its bearer token. */
  readonly token: string
  /** The certificates of a resource; `type` is `provisioningservices` or `iothubs`, in lower case. */
  readonly certificatesOf: (type: string, name: string) => CertificateStore | undefined
  /** Milliseconds since 1970. */
  readonly now: () => number
}

const resource =
  '/subscriptions/:subscription/resourcegroups/:group/providers/microsoft.devices/:type{provisioningservices|iothubs}/:name'

/**
 * The part of Azure Resource Manager that keeps the certificates of authorities, with proof of possession. There is
 * no other API for them.
 */
export function managementApp({ token, certificatesOf, now }: ManagementParts): ServiceApp {
  const words = [0, 2, 4, 5, 6, 8, 10]
  const app = createServiceApp({ errors: managementErrors, now, words })
  app.use(async (context, next) => {
    if (context.req.header('authorization') !== `Bearer ${token}`) {
      throw new ServiceError(401, 401000, 'Expected the bearer token of this cloud.')
    }
    await next()
  }, requireApiVersion(managementApiVersions))

  const storeOf = (context: Context<HttpEnvironment>): CertificateStore => {
    const { type = '', name = '' } = context.req.param() as { readonly type?: string; readonly name?: string }
    const store = certificatesOf(type, name)
    if (store === undefined) throw new ServiceError(404, 404000, `There is no resource "${name}".`)
    return store
  }
  const json = (context: Context<HttpEnvironment>, certificate: NamedCertificate): object => {
    const path = new URL(context.req.url).pathname.replace(/\/(generateVerificationCode|verify)\/?$/i, '')
    return certificateJson(certificate, path)
  }

  app.get(`${resource}/certificates`, (context) => {
    const path = new URL(context.req.url).pathname.replace(/\/$/, '')
    const value = storeOf(context)
      .list()
      .map((certificate) => certificateJson(certificate, `${path}/${certificate.name}`))
    return context.json({ value })
  })
  app.put(`${resource}/certificates/:certificate`, async (context) => {
    const store = storeOf(context)
    const name = context.req.param('certificate')
    const body = await readJsonObject(context)
    // The certificate may stand in `properties` or, in older versions, beside it.
    const properties = (body['properties'] ?? body) as JsonRecord
    const isNew = store.get(name) === undefined
    const verified = properties['isVerified'] === true
    const kept = store.put(name, textIn(properties, 'certificate'), verified, context.req.header('if-match'))
    return context.json(json(context, kept), isNew ? 201 : 200)
  })
  app.get(`${resource}/certificates/:certificate`, (context) => {
    const name = context.req.param('certificate')
    const certificate = storeOf(context).get(name)
    if (certificate === undefined) throw new ServiceError(404, 404000, `There is no certificate "${name}".`)
    const { verificationCode: _secret, ...shown } = certificate
    return context.json(json(context, shown))
  })
  app.delete(`${resource}/certificates/:certificate`, (context) => {
    storeOf(context).delete(context.req.param('certificate'), ifMatchOf(context))
    return context.body(null, 200)
  })
  app.post(`${resource}/certificates/:certificate/:action{generateverificationcode}`, (context) => {
    const name = context.req.param('certificate')
    return context.json(json(context, storeOf(context).generateVerificationCode(name, ifMatchOf(context))))
  })
  app.post(`${resource}/certificates/:certificate/:action{verify}`, async (context) => {
    const body = await readJsonObject(context)
    const name = context.req.param('certificate')
    const proof = textIn(body, 'certificate')
    return context.json(json(context, storeOf(context).verify(name, proof, ifMatchOf(context))))
  })
  return app
}

function certificateJson({ name, etag, ...properties }: NamedCertificate, id: string): object {
  return { id, name, type: 'Microsoft.Devices/ProvisioningServices/Certificates', etag, properties }
}

/** The API insists on it, so that nobody deletes or verifies what somebody else has just replaced. */
function ifMatchOf(context: Context<HttpEnvironment>): string {
  const ifMatch = context.req.header('if-match')
  if (ifMatch === undefined) throw new ServiceError(400, 400002, 'Expected an If-Match header.')
  return ifMatch
}

function textIn(json: JsonRecord, name: string): string {
  const value = json[name]
  if (typeof value === 'string' && value !== '') return value
  throw new ServiceError(400, 400004, `Bad request: expected ${name} to be text.`)
}
