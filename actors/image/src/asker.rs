//! Who asks, and what they may do with an image.

use updraft_edge::policy::{ADMIN_RULE, credentials};
use updraft_protocol::identity::Principal;
use updraft_runtime::policy::{Credentials, Policy, Target};

use crate::{
    error::Error,
    rows::{ImageRow, Visibility},
};

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    project: Option<String>,
    admin: bool,
    credentials: Credentials,
}

impl Asker {
    pub(crate) fn new(principal: &Principal, service: Option<&Principal>, policy: &Policy) -> Self {
        let credentials = credentials(principal, service);
        let project = principal.project_id().map(str::to_owned);
        let admin = policy.check(ADMIN_RULE, &credentials, &Target::new()).is_ok();
        Self { project, admin, credentials }
    }

    /// The project that the token is for.
    pub(crate) fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.admin
    }

    /// Whether the rule lets the asker act in a project of its own, on no image in particular.
    pub(crate) fn may(&self, policy: &Policy, rule: &str) -> Result<(), Error> {
        let target = Target::new()
            .with("project_id", self.project.clone())
            .with("owner", self.project.clone());
        Ok(policy.check(rule, &self.credentials, &target)?)
    }

    /// Whether the rule lets the asker act on an image yet to be made.
    pub(crate) fn may_create(
        &self,
        policy: &Policy,
        owner: Option<&str>,
        visibility: Visibility,
    ) -> Result<(), Error> {
        let owner = owner.map(str::to_owned);
        let target = Target::new()
            .with("project_id", owner.clone())
            .with("owner", owner.clone())
            .with("visibility", visibility.as_str());
        if policy.check("add_image", &self.credentials, &target).is_err() {
            return Err(match owner {
                Some(owner) if self.project() != Some(&owner) => Error::forbidden(format!(
                    "You are not permitted to create images owned by '{owner}'"
                )),
                _ => Error::NotAuthorized("add_image".to_owned()),
            });
        }
        self.may_show(policy, visibility, &target)
    }

    /// Whether the rule lets the asker act on this image. One that the asker may not see does not exist.
    pub(crate) fn may_on(
        &self,
        policy: &Policy,
        rule: &str,
        image: &ImageRow,
    ) -> Result<(), Error> {
        let target = self.target(image);
        if policy.check("get_image", &self.credentials, &target).is_err() || !self.sees(image) {
            return Err(Error::not_found(image.id));
        }
        Ok(policy.check(rule, &self.credentials, &target)?)
    }

    /// Whether the asker may give the image this visibility.
    pub(crate) fn may_publish(
        &self,
        policy: &Policy,
        image: &ImageRow,
        visibility: Visibility,
    ) -> Result<(), Error> {
        self.may_show(policy, visibility, &self.target(image))
    }

    fn may_show(
        &self,
        policy: &Policy,
        visibility: Visibility,
        target: &Target,
    ) -> Result<(), Error> {
        let rule = match visibility {
            Visibility::Public => "publicize_image",
            Visibility::Community => "communitize_image",
            Visibility::Shared | Visibility::Private => return Ok(()),
        };
        Ok(policy.check(rule, &self.credentials, target)?)
    }

    /// Whether the image exists for the asker.
    pub(crate) fn sees(&self, image: &ImageRow) -> bool {
        image.deleted_at.is_none() && (self.admin || image.visible_to(self.project()))
    }

    fn target(&self, image: &ImageRow) -> Target {
        let target = Target::new()
            .with("project_id", image.owner.clone())
            .with("owner", image.owner.clone())
            .with("visibility", image.about.visibility.as_str());
        match self.project() {
            Some(project)
                if image.about.visibility == Visibility::Shared
                    && image.members.contains_key(project) =>
            {
                target.with("member_id", project)
            }
            _ => target,
        }
    }
}
