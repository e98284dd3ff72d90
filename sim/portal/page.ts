import type { Fragment, Html } from './html.ts'

/** The parts of the portal, in the order of its menu. */
export const sections = {
  overview: { path: '/', name: 'Overview' },
  enrollments: { path: '/enrollments', name: 'Enrollments' },
  certificates: { path: '/certificates', name: 'CA certificates' },
  registrations: { path: '/registrations', name: 'Registrations' },
  devices: { path: '/devices', name: 'Devices' },
  jobs: { path: '/jobs', name: 'Jobs' },
  faults: { path: '/faults', name: 'Faults' },
} as const
export type Section = keyof typeof sections

/** What a page is written with. */
export interface PageTools {
  /**
   * A part of the page that is sent again whenever it has changed. Nothing that a person is writing may stand in it.
   *
   * @param name - unique on the page
   */
  readonly live: (name: string, content: Fragment) => Html
  /** A form that the portal will take: it carries the secret of this portal. Files may stand in it. */
  readonly form: (action: string, content: Fragment, id?: string) => Html
  /** What a person had written into a form that was refused; `otherwise` where there is none. */
  readonly written: (field: string, otherwise: string) => string
  /** The same for a box. */
  readonly ticked: (field: string, otherwise: boolean) => boolean
}

/** One page of the portal. */
export interface Page {
  readonly title: string
  readonly section: Section
  /** Where it is. */
  readonly path: string
  /** Where one finds oneself, above the title: the pages above this one. */
  readonly above?: readonly { readonly path: string; readonly name: string }[]
  /** Written again for each change of its live parts. */
  readonly body: (tools: PageTools) => Html
}

/** What stands above a page once. */
export interface Notice {
  readonly tone: 'good' | 'bad'
  readonly text: string
  /** More of it, as it is: JSON, for example. */
  readonly detail?: string
}
