import type { HttpApp } from '../http/http-front.ts'

/** Both APIs of DPS stand behind the same host names; the first word of the path tells which is meant. */
export function eitherApp(service: HttpApp, device: HttpApp): HttpApp {
  return {
    fetch: (request, env) => {
      return isServicePath(request.url) ? service.fetch(request, env) : device.fetch(request, env)
    },
  }
}

/** Whether a URL is one of the service API. */
export function isServicePath(url: string): boolean {
  const [, word = ''] = /^[a-z]+:\/\/[^/?#]*\/([^/?#]*)/i.exec(url) ?? []
  return /^(enrollments|enrollmentgroups|registrations)$/i.test(word)
}
