import type { Context } from 'hono'
import type { CertificateStore, NamedCertificate } from '../certificates/certificate-store.ts'
import { ServiceError } from '../errors.ts'
import { readJsonObject, type JsonRecord } from '../http/request-body.ts'
import type { HttpEnvironment, ServiceApp } from '../http/service-app.ts'

/** Whose certificates these are. */
export interface CertificateOwner {
  /** As answers name it: `Microsoft.Devices/IotHubs/Certificates`. */
  readonly type: string
  /** By the name of the resource; `undefined` when there is none. */
  readonly storeOf: (resource: string) => CertificateStore | undefined
}

/** Adds the operations on certificates, which provisioning services and hubs have alike. `path` has a `:resource`. */
export function addCertificateRoutes(
  app: ServiceApp,
  path: string,
  { type, storeOf }: CertificateOwner,
): void {
  const storeFor = (context: Context<HttpEnvironment>): CertificateStore => {
    const { resource = '' } = context.req.param() as { readonly resource?: string }
    const store = storeOf(resource)
    if (store === undefined) throw new ServiceError(404, 404000, `There is no resource "${resource}".`)
    return store
  }
  const json = ({ name, etag, ...properties }: NamedCertificate, id: string): object => {
    return { id, name, type, etag, properties }
  }
  const answer = (context: Context<HttpEnvironment>, certificate: NamedCertificate): object =>
    json(certificate, pathOf(context).replace(/\/(generateVerificationCode|verify)$/i, ''))

  app.get(path, (context) => {
    const value = storeFor(context)
      .list()
      .map((certificate) => json(withoutCode(certificate), `${pathOf(context)}/${certificate.name}`))
    return context.json({ value })
  })
  app.put(`${path}/:certificate`, async (context) => {
    const store = storeFor(context)
    const name = context.req.param('certificate')
    const body = await readJsonObject(context)
    // The certificate may stand in `properties` or, in older versions, beside it.
    const properties = (body['properties'] ?? body) as JsonRecord
    const isNew = store.get(name) === undefined
    const verified = properties['isVerified'] === true
    const kept = store.put(name, textIn(properties, 'certificate'), verified, context.req.header('if-match'))
    return context.json(answer(context, kept), isNew ? 201 : 200)
  })
  app.get(`${path}/:certificate`, (context) => {
    const name = context.req.param('certificate')
    const certificate = storeFor(context).get(name)
    if (certificate === undefined) throw new ServiceError(404, 404000, `There is no certificate "${name}".`)
    return context.json(answer(context, withoutCode(certificate)))
  })
  app.delete(`${path}/:certificate`, (context) => {
    storeFor(context).delete(context.req.param('certificate'), ifMatchOf(context))
    return context.body(null, 200)
  })
  app.post(`${path}/:certificate/:action{generateverificationcode}`, (context) => {
    const name = context.req.param('certificate')
    return context.json(answer(context, storeFor(context).generateVerificationCode(name, ifMatchOf(context))))
  })
  app.post(`${path}/:certificate/:action{verify}`, async (context) => {
    const body = await readJsonObject(context)
    const name = context.req.param('certificate')
    const proof = textIn(body, 'certificate')
    return context.json(answer(context, storeFor(context).verify(name, proof, ifMatchOf(context))))
  })
}

/** The code is told to whoever asks for one, and to nobody else. */
function withoutCode({ verificationCode: _secret, ...shown }: NamedCertificate): NamedCertificate {
  return shown
}

function pathOf(context: Context<HttpEnvironment>): string {
  return new URL(context.req.url).pathname.replace(/\/+$/, '')
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
